// Which backend runs: what each supports, and the fallback flash_attn_2 -> sdpa -> manual with its
// reasons.
#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>
#include <vector>

#include "attention/backends_cpu.hpp"
#include "attention/backends_cuda.hpp"
#include "attention/sdpa/sdpa_cuda.hpp"
#include "isoflop/attention/attention.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention {
namespace {

using cost::AttentionBackend;

constexpr std::int64_t kMaxFusedHeadDim = 256;
constexpr std::array kFallbackOrder = {AttentionBackend::flash_attn_2, AttentionBackend::sdpa,
                                       AttentionBackend::manual};

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

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

Support unsupported(std::string reason) {
    return {.supported = false, .reason = std::move(reason)};
}

/// The fused kernels of GPUs are compiled for some sizes and for the tensor cores' types.
Support supports_fused_on_gpu(AttentionBackend backend, const Shape& shape, DType dtype) {
    if (backend == AttentionBackend::manual) return {};
    if (size_in_bytes(dtype) != 2)
        return unsupported("its CUDA kernels are for bfloat16 and float16, not " +
                           std::string(short_name(dtype)));
    constexpr std::array kHeadDims = {32, 64, 96, 128, 256};
    const bool compiled = std::any_of(kHeadDims.begin(), kHeadDims.end(),
                                      [&](int each) { return each == shape.head_dim; });
    if (!compiled) {
        return unsupported("head_dim " + std::to_string(shape.head_dim) +
                           " is none of 32, 64, 96, 128, 256");
    }
    if (backend != AttentionBackend::sdpa || shape.kv_heads < 1) return {};
    const std::uint64_t sums = sdpa::backward_scratch_bytes(shape);
    if (sums > device::kScratchBytes) {
        constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20U;
        return unsupported("d_q of the " + std::to_string(shape.heads / shape.kv_heads) +
                           " heads of a key/value head takes " + std::to_string(sums / kMebibyte) +
                           " MiB in fp32, more than the scratch memory of " +
                           std::to_string(device::kScratchBytes / kMebibyte));
    }
    return {};
}

std::unique_ptr<Backend> make_cpu_backend(AttentionBackend backend) {
    switch (backend) {
        case AttentionBackend::flash_attn_2: return make_flash_attn_2_cpu();
        case AttentionBackend::sdpa: return make_sdpa_cpu();
        case AttentionBackend::manual: return make_manual_cpu();
    }
    throw ConfigError("no such attention backend");
}

}  // namespace

Support supports(AttentionBackend backend, cost::DeviceKind device, const Shape& shape,
                 DType dtype) {
    const bool on_gpu = device == cost::DeviceKind::cuda;
    const bool has_type =
        dtype == DType::float32 ||
        (on_gpu ? dtype == DType::bfloat16 || dtype == DType::float16 : dtype == DType::float64);
    if (!has_type) {
        return unsupported(std::string("no ") + (on_gpu ? "CUDA" : "CPU") + " kernel for " +
                           std::string(short_name(dtype)));
    }
    if (on_gpu) {
        if (Support fused = supports_fused_on_gpu(backend, shape, dtype); !fused.supported)
            return fused;
    }
    if (shape.head_dim < 1)
        return unsupported("head_dim " + std::to_string(shape.head_dim) + " is below 1");
    if (shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
        return unsupported(std::to_string(shape.heads) + " heads cannot share " +
                           std::to_string(shape.kv_heads) + " key/value heads evenly");
    }
    if (backend != AttentionBackend::manual && shape.head_dim > kMaxFusedHeadDim) {
        return unsupported("head_dim " + std::to_string(shape.head_dim) + " is over " +
                           std::to_string(kMaxFusedHeadDim));
    }
    return {};
}

Resolution resolve(AttentionBackend requested, cost::DeviceKind device, const Shape& shape,
                   DType dtype, std::string_view disabled) {
    const auto* const first = std::find(kFallbackOrder.begin(), kFallbackOrder.end(), requested);
    return resolve(std::span(first, kFallbackOrder.end()), device, shape, dtype, disabled);
}

Resolution resolve(std::span<const AttentionBackend> order, cost::DeviceKind device,
                   const Shape& shape, DType dtype, std::string_view disabled) {
    const std::vector<AttentionBackend> off = parse_disabled(disabled);
    std::string reasons;
    for (const AttentionBackend backend : order) {
        const bool is_off = std::find(off.begin(), off.end(), backend) != off.end();
        const Support support =
            is_off ? unsupported("disabled") : supports(backend, device, shape, dtype);
        if (support.supported) {
            return {.requested = order.front(),
                    .used = backend,
                    .reason = reasons.empty() ? "as requested" : reasons};
        }
        if (!reasons.empty()) reasons += "; ";
        reasons += std::string(to_string(backend)) + ": " + support.reason;
    }
    throw ConfigError("no attention backend can run here: " + reasons);
}

std::vector<AttentionBackend> runnable(cost::DeviceKind device, const Shape& shape, DType dtype,
                                       std::string_view disabled) {
    const std::vector<AttentionBackend> off = parse_disabled(disabled);
    std::vector<AttentionBackend> backends;
    for (const AttentionBackend backend : kFallbackOrder) {
        const bool is_off = std::find(off.begin(), off.end(), backend) != off.end();
        if (!is_off && supports(backend, device, shape, dtype).supported)
            backends.push_back(backend);
    }
    return backends;
}

std::unique_ptr<Backend> make_backend(AttentionBackend backend, const device::Device& device) {
    switch (device.kind()) {
        case cost::DeviceKind::cpu: return make_cpu_backend(backend);
        case cost::DeviceKind::cuda: return make_cuda_backend(backend, device.plan_cache());
    }
    throw std::logic_error("attention: no backends for this kind of device");
}

}  // namespace isoflop::attention
