// Device memory that the fused attention of cuDNN needs besides the tensors, so that it is planned
// before cuDNN is loaded.
//
// Fitted to the requests of cuDNN 9.19 for compiled plans of capability 8.0 to 12.0: d_k and d_v of
// each query head in 16 bits where heads share keys, a copy of d_q in fp32 where it is summed by
// atomics (not on 9.0 and mostly not on 10.0, where this exceeds the request), or the gradients of
// all scores in 16 bits where nothing is. cuDNN rounds lengths up to whole tiles: queries to 8 in
// d_q, and in scores queries to 64 and keys to 128 (to 64 on other capabilities than 9.0).
#pragma once

#include <cstdint>

#include "isoflop/cost/execution.hpp"

namespace isoflop::cost {

/// Scratch memory of the ops of a GPU.
inline constexpr std::uint64_t kGpuScratchBytes = std::uint64_t{64} << 20U;

/// The deterministic backward pass of cuDNN is not used when score gradients need more bytes.
inline constexpr std::uint64_t kMostScoreGradientBytes = std::uint64_t{256} << 20U;

struct AttentionSize {
    std::int64_t batch = 0;
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t query_length = 0;
    std::int64_t key_length = 0;
    std::int64_t head_dim = 0;
    std::int64_t window = 0;  ///< keys that a query sees at most; 0: no bound
    double soft_cap = 0;      ///< of the scores; 0: none
};

/// `length` in whole tiles.
[[nodiscard]] constexpr std::uint64_t padded_length(std::int64_t length, std::int64_t tile) {
    return static_cast<std::uint64_t>((length + tile - 1) / tile * tile);
}

/// Of all scores, in 16 bits and whole tiles.
[[nodiscard]] constexpr std::uint64_t score_gradient_bytes(const AttentionSize& size) {
    return 2 * static_cast<std::uint64_t>(size.batch * size.heads) *
           padded_length(size.query_length, 64) * padded_length(size.key_length, 128);
}

/// Of the backward pass; the forward pass needs at most 256 bytes. 0 where cuDNN is not used.
[[nodiscard]] constexpr std::uint64_t cudnn_workspace_bytes(const AttentionSize& size,
                                                            bool deterministic) {
    const auto row_bytes = 2 * static_cast<std::uint64_t>(size.batch * size.heads * size.head_dim);
    const std::uint64_t queries = row_bytes * padded_length(size.query_length, 8);
    const std::uint64_t keys = row_bytes * static_cast<std::uint64_t>(size.key_length);
    const std::uint64_t scores = score_gradient_bytes(size);
    if (deterministic && scores > kMostScoreGradientBytes) return 0;
    const std::uint64_t expanded = size.kv_heads < size.heads ? 2 * keys : 0;
    return expanded + (deterministic ? scores : 2 * queries) + 512;
}

}  // namespace isoflop::cost
