// Which backend runs a shape, as the cost layer says, and its implementation for a device.
#include <stdexcept>

#include "attention/backends_cpu.hpp"
#include "attention/backends_cuda.hpp"
#include "isoflop/attention/attention.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention {
namespace {

using cost::AttentionBackend;

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
    return cost::backend_support(backend, device, shape.size(), dtype);
}

Resolution resolve(AttentionBackend requested, cost::DeviceKind device, const Shape& shape,
                   DType dtype, std::string_view disabled) {
    return cost::resolve_backend(requested, device, shape.size(), dtype, disabled);
}

std::unique_ptr<Backend> make_backend(AttentionBackend backend, const device::Device& device) {
    switch (device.kind()) {
        case cost::DeviceKind::cpu: return make_cpu_backend(backend);
        case cost::DeviceKind::cuda: return make_cuda_backend(backend, device.plan_cache());
    }
    throw std::logic_error("attention: no backends for this kind of device");
}

}  // namespace isoflop::attention
