#include "ops/kernels.hpp"

#include <stdexcept>

#include "isoflop/device/device.hpp"

namespace isoflop::ops {

const Kernels& kernels(const Context& context) {
    static constexpr Kernels kOnCpu = AllOps::on_cpu();
    switch (context.device.kind()) {
        case cost::DeviceKind::cpu: return kOnCpu;
        case cost::DeviceKind::cuda: return cuda::kernels();
    }
    throw std::logic_error("ops: no kernels for this kind of device");
}

}  // namespace isoflop::ops
