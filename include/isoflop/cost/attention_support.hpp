// Which attention backends run a shape on a device, and the fallback flash_attn_2 -> sdpa -> manual
// with its reasons. Nothing here needs the device, so a plan counts the backend that the run uses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/dtype.hpp"
#include "isoflop/cost/attention_workspace.hpp"
#include "isoflop/cost/execution.hpp"

namespace isoflop::model {
struct ModelConfig;
}

namespace isoflop::cost {

/// Whether a backend can run a shape, and the reason if not.
struct BackendSupport {
    bool supported = true;
    std::string reason;  ///< "head_dim 512 is over 256"
};
/// `dtype`: of queries, keys and values.
[[nodiscard]] BackendSupport backend_support(AttentionBackend backend, DeviceKind device,
                                             const AttentionSize& size, DType dtype);

struct BackendResolution {
    AttentionBackend requested{};
    AttentionBackend used{};
    std::string reason;  ///< why `used` differs, or "as requested"
};
/// The first of `order` that runs; the first one counts as requested. `disabled` lists backends to
/// treat as unsupported, comma-separated. Throws ConfigError when no backend is left.
[[nodiscard]] BackendResolution resolve_backend(std::span<const AttentionBackend> order,
                                                DeviceKind device, const AttentionSize& size,
                                                DType dtype, std::string_view disabled = {});
/// The same with the fallback flash_attn_2 -> sdpa -> manual.
[[nodiscard]] BackendResolution resolve_backend(AttentionBackend requested, DeviceKind device,
                                                const AttentionSize& size, DType dtype,
                                                std::string_view disabled = {});
/// The backends that `resolve_backend` accepts as able to run.
[[nodiscard]] std::vector<AttentionBackend> runnable_backends(DeviceKind device,
                                                              const AttentionSize& size,
                                                              DType dtype,
                                                              std::string_view disabled = {});

/// Self-attention of one micro-batch.
[[nodiscard]] AttentionSize attention_size(const model::ModelConfig& config,
                                           const Execution& execution);

/// Scratch memory that the backward pass of our sdpa kernels for GPUs needs at least: d_q in fp32
/// of the heads that share a key/value head. The forward pass always fits into a MiB.
[[nodiscard]] constexpr std::uint64_t sdpa_scratch_bytes(const AttentionSize& size) {
    constexpr std::int64_t query_tile = 64;  // the largest; a sequence is padded to whole tiles
    const std::int64_t rows = (size.query_length + query_tile - 1) / query_tile * query_tile;
    return static_cast<std::uint64_t>(size.heads / size.kv_heads * rows * size.head_dim) *
           sizeof(float);
}

}  // namespace isoflop::cost
