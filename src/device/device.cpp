#include "isoflop/device/device.hpp"

#include "device/cpu_device.hpp"

namespace isoflop::device {

double DeferredValue::get() const {
    if (device_ == nullptr) return value_;
    double value = 0;
    device_->copy_out(&value, slot_, sizeof(value));
    return value;
}

std::unique_ptr<Device> open_device(cost::DeviceKind kind, const DeviceOptions& options) {
    if (kind == cost::DeviceKind::cpu) return std::make_unique<CpuDevice>(options.ranks_on_host);
    return open_gpu(options);
}

}  // namespace isoflop::device
