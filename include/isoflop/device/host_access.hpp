// Access of the host to device memory: in place when the device is the host, else by copies. No
// other code outside tests asks Device::is_host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::device {

/// A tensor in host memory. `owner` keeps a copy alive; null where the view is the tensor itself.
struct HostTensor {
    TensorView view;
    std::shared_ptr<const void> owner;
};
/// Flat. Waits for the work before it.
[[nodiscard]] HostTensor read_on_host(Device& device, const TensorView& tensor);

/// `write` fills a flat tensor in host memory, which becomes the content of `tensor`.
void write_from_host(Device& device, const TensorView& tensor,
                     const std::function<void(const TensorView& on_host)>& write);

/// Host memory in which values for `on_device` are prepared: that memory, or `staging`.
template <class T>
[[nodiscard]] std::span<T> prepare_on_host(const Device& device, T* on_device, std::size_t count,
                                           std::vector<T>& staging) {
    if (device.is_host()) return {on_device, count};
    staging.resize(count);
    return staging;
}

/// Host values in memory that ops of the device read: unchanged, or copied to `on_device`.
template <class T>
[[nodiscard]] std::span<const T> bring_to_device(Device& device, std::span<const T> values,
                                                 T* on_device) {
    if (device.is_host()) return values;
    device.copy_in(on_device, values.data(), values.size_bytes());
    return {on_device, values.size()};
}

/// Values that the host can read where they are; empty where they are in the memory of a GPU.
template <class T>
[[nodiscard]] std::span<const T> visible_to_host(const Device& device, std::span<const T> values) {
    return device.is_host() ? values : std::span<const T>();
}

}  // namespace isoflop::device
