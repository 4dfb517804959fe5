#include "isoflop/device/host_access.hpp"

namespace isoflop::device {
namespace {

/// Flat, of the type of `of`.
HostTensor make_copy(const TensorView& of) {
    const auto memory = std::make_shared<std::vector<std::byte>>(of.bytes());
    return {TensorView(memory->data(), of.dtype(), {of.size()}), memory};
}

}  // namespace

HostTensor read_on_host(Device& device, const TensorView& tensor) {
    if (device.is_host()) return {tensor.flat_range(0, tensor.size()), nullptr};
    HostTensor copy = make_copy(tensor);
    device.copy_out(copy.view.data(), tensor.data(), tensor.bytes());
    return copy;
}

void write_from_host(Device& device, const TensorView& tensor,
                     const std::function<void(const TensorView& on_host)>& write) {
    if (device.is_host()) return write(tensor.flat_range(0, tensor.size()));
    const HostTensor copy = make_copy(tensor);
    write(copy.view);
    device.copy_in(tensor.data(), copy.view.data(), tensor.bytes());
}

}  // namespace isoflop::device
