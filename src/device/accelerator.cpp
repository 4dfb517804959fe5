#include "isoflop/device/accelerator.hpp"

namespace isoflop::device {

double DeferredValue::get() const {
    if (device_ == nullptr) return value_;
    double value = 0;
    device_->copy_out(&value, slot_, sizeof(value));
    return value;
}

}  // namespace isoflop::device
