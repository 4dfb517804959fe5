#include "isoflop/cost/attention_support.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/attention_pairs.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::cost {
namespace {

constexpr std::int64_t kMaxFusedHeadDim = 256;
constexpr std::array kFallbackOrder = {AttentionBackend::flash_attn_2, AttentionBackend::sdpa,
                                       AttentionBackend::manual};
/// Head sizes that the fused kernels of GPUs are compiled for.
constexpr std::array<std::int64_t, 5> kGpuHeadDims = {32, 64, 96, 128, 256};
static_assert(std::all_of(kGpuHeadDims.begin(), kGpuHeadDims.end(), [](std::int64_t head_dim) {
    return flash_attn_2_tiles(head_dim).forward.keys > 0 && sdpa_tiles(head_dim).forward.keys > 0;
}));

std::vector<AttentionBackend> parse_disabled(std::string_view list) {
    std::vector<AttentionBackend> disabled;
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view word = trimmed(list.substr(0, comma));
        list.remove_prefix(std::min(comma + 1, list.size()));
        if (word.empty()) continue;
        const auto backend = from_string<AttentionBackend>(word);
        if (!backend) {
            const auto names = all_names<AttentionBackend>();
            throw ConfigError("no attention backend '" + std::string(word) + "' to disable (" +
                              join(names) + ")" + suggestion(word, names));
        }
        disabled.push_back(*backend);
    }
    return disabled;
}

BackendSupport unsupported(std::string reason) {
    return {.supported = false, .reason = std::move(reason)};
}

bool contains(std::span<const AttentionBackend> list, AttentionBackend backend) {
    return std::find(list.begin(), list.end(), backend) != list.end();
}

/// The fused kernels of GPUs are compiled for some sizes and for the tensor cores' types.
BackendSupport fused_support_on_gpu(AttentionBackend backend, const AttentionSize& size,
                                    DType dtype) {
    if (backend == AttentionBackend::manual) return {};
    if (size_in_bytes(dtype) != 2)
        return unsupported(
            fmt::format("CUDA kernels are for bfloat16 and float16, not {}", short_name(dtype)));
    if (std::find(kGpuHeadDims.begin(), kGpuHeadDims.end(), size.head_dim) == kGpuHeadDims.end()) {
        return unsupported(
            fmt::format("head_dim {} is none of 32, 64, 96, 128, 256", size.head_dim));
    }
    if (size.soft_cap > 0) return unsupported("no fused CUDA kernel has a soft cap of scores");
    if (backend != AttentionBackend::sdpa || size.kv_heads < 1) return {};
    const std::uint64_t sums = sdpa_scratch_bytes(size);
    if (sums > kGpuScratchBytes) {
        return unsupported(fmt::format(
            "d_q of the {} heads of a key/value head takes {} MiB in fp32, more than the scratch "
            "memory of {}",
            size.heads / size.kv_heads, sums >> 20U, kGpuScratchBytes >> 20U));
    }
    return {};
}

}  // namespace

BackendSupport backend_support(AttentionBackend backend, DeviceKind device,
                               const AttentionSize& size, DType dtype) {
    const bool on_gpu = device == DeviceKind::cuda;
    const bool has_type =
        dtype == DType::float32 ||
        (on_gpu ? dtype == DType::bfloat16 || dtype == DType::float16 : dtype == DType::float64);
    if (!has_type) {
        return unsupported(
            fmt::format("no {} kernel for {}", on_gpu ? "CUDA" : "CPU", short_name(dtype)));
    }
    if (on_gpu) {
        if (BackendSupport fused = fused_support_on_gpu(backend, size, dtype); !fused.supported)
            return fused;
    }
    if (size.head_dim < 1) return unsupported(fmt::format("head_dim {} is below 1", size.head_dim));
    if (size.kv_heads < 1 || size.heads % size.kv_heads != 0) {
        return unsupported(fmt::format("{} heads cannot share {} key/value heads evenly",
                                       size.heads, size.kv_heads));
    }
    if (backend != AttentionBackend::manual && size.head_dim > kMaxFusedHeadDim)
        return unsupported(fmt::format("head_dim {} is over {}", size.head_dim, kMaxFusedHeadDim));
    return {};
}

BackendResolution resolve_backend(std::span<const AttentionBackend> order, DeviceKind device,
                                  const AttentionSize& size, DType dtype,
                                  std::string_view disabled) {
    const std::vector<AttentionBackend> off = parse_disabled(disabled);
    std::string reasons;
    std::string backends;  // that cannot run for the last of the reasons
    std::string reason;
    const auto end_reason = [&] {
        if (!backends.empty())
            reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", backends, reason);
        backends.clear();
    };
    for (const AttentionBackend backend : order) {
        const BackendSupport support = contains(off, backend)
                                           ? unsupported("disabled")
                                           : backend_support(backend, device, size, dtype);
        if (support.supported) {
            end_reason();
            return {.requested = order.front(),
                    .used = backend,
                    .reason = reasons.empty() ? "as requested" : reasons};
        }
        if (support.reason != reason) end_reason();
        backends += fmt::format("{}{}", backends.empty() ? "" : " and ", to_string(backend));
        reason = support.reason;
    }
    end_reason();
    throw ConfigError("no attention backend can run here: " + reasons);
}

BackendResolution resolve_backend(AttentionBackend requested, DeviceKind device,
                                  const AttentionSize& size, DType dtype,
                                  std::string_view disabled) {
    const auto* const first = std::find(kFallbackOrder.begin(), kFallbackOrder.end(), requested);
    return resolve_backend(std::span(first, kFallbackOrder.end()), device, size, dtype, disabled);
}

std::vector<AttentionBackend> runnable_backends(DeviceKind device, const AttentionSize& size,
                                                DType dtype, std::string_view disabled) {
    const std::vector<AttentionBackend> off = parse_disabled(disabled);
    std::vector<AttentionBackend> backends;
    for (const AttentionBackend backend : kFallbackOrder) {
        if (!contains(off, backend) && backend_support(backend, device, size, dtype).supported)
            backends.push_back(backend);
    }
    return backends;
}

AttentionSize attention_size(const model::ModelConfig& config, const Execution& execution) {
    return {.batch = execution.micro_batch_size,
            .heads = config.num_attention_heads,
            .kv_heads = config.num_key_value_heads,
            .query_length = execution.sequence_length,
            .key_length = execution.sequence_length,
            .head_dim = config.query_width() / config.num_attention_heads,
            .soft_cap = config.attention_soft_cap.value_or(0)};
}

}  // namespace isoflop::cost
