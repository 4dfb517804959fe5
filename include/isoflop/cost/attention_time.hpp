// Predicted time of fused attention on NVIDIA GPUs, by an analytic model of FlashAttention-2 tiles:
// the cost of a score on a multiprocessor in tensor-core, shared-memory, exponential and fp32 work,
// the overlap of these, and the cost of a block before and after its loop.
//
// Per score and multiprocessor, in clocks, with D = head_dim and tiles of Br queries by Bc keys:
//   t = t_mma + (1 - w) (t_smem + t_exp + t_fp), but no less than any of its terms
//   forward    t_mma = 4 D / R           t_fp = (4.5 + D / Bc) / lanes      w = 0.65
//   backward   t_mma = 10 D / R          t_fp = (6 + 1.5 D / Bc) / lanes    w = 0.5
//   t_exp = 1 / 16: exp2 units per clock of every architecture
//   t_smem = bytes that the warps read per score / 128 a clock
// R: dense bf16 FLOPs per clock that mma.sync reaches (on sm_90 about 0.64 of the peak, which only
// wgmma has; on sm_100 a quarter, the rest being tcgen05's). A sequence of S keys has the
// efficiency S / (S + 175): the prologue and epilogue of a block last as long as 175 keys. Causal
// masks halve the keys of the average block and waste half of each diagonal tile.
//
// The two w and the 175 were fitted to the A100 figures that docs/attention_backends.md shows;
// everything else follows from the architecture. Expect 10 %.
#pragma once

#include <cstdint>
#include <optional>

#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::cost {

/// Tiles of one kernel: query rows and key rows of a block, query rows of a warp.
struct AttentionTileShape {
    std::int64_t query_tile = 128;
    std::int64_t key_tile = 64;
    std::int64_t warps = 4;
};

/// A GPU as the model sees it.
struct AttentionDevice {
    double multiprocessor_hertz = 0;  ///< clocks per second of all multiprocessors together
    double mma_flops_per_clock = 0;   ///< of one, dense 16-bit products by mma.sync
    double fp32_lanes = 0;            ///< of one
    double memory_bandwidth = 0;      ///< bytes per second
};
/// nullopt for one that mma.sync kernels do not run on (older than sm_80, other vendors).
[[nodiscard]] std::optional<AttentionDevice> attention_device(const hardware::Gpu& gpu);

struct AttentionWorkload {
    std::int64_t batch = 1;
    std::int64_t heads = 1;
    std::int64_t kv_heads = 1;
    std::int64_t sequence_length = 0;
    std::int64_t head_dim = 128;
    bool causal = true;
};

enum class AttentionDirection { forward, backward };

struct AttentionTime {
    double seconds = 0;
    double flops = 0;  ///< 4 B H S^2 D forward, 2.5 times that backward, half when causal
    /// Clocks per score.
    double tensor_core = 0, shared_memory = 0, exponential = 0, fp32 = 0;
    bool memory_bound = false;  ///< device memory sets the time
    [[nodiscard]] double flops_per_second() const { return seconds > 0 ? flops / seconds : 0; }
};

/// Tiles that the model assumes for a head_dim: forward those of our kernels; backward the ones of
/// FlashAttention-2, whose published figures it is held against. Ours are in attention_pairs.hpp.
[[nodiscard]] AttentionTileShape attention_tile(std::int64_t head_dim,
                                                AttentionDirection direction);

[[nodiscard]] AttentionTime attention_time(const AttentionDevice& device,
                                           const AttentionWorkload& workload,
                                           AttentionDirection direction);
[[nodiscard]] AttentionTime attention_time(const AttentionDevice& device,
                                           const AttentionWorkload& workload,
                                           AttentionDirection direction,
                                           const AttentionTileShape& tile);

}  // namespace isoflop::cost
