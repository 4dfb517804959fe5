#include "isoflop/sharding/single_device.hpp"

#include <stdexcept>

namespace isoflop::sharding {

SingleDevice::SingleDevice(const cost::StateLayout& layout, TensorView weights,
                           TensorView gradients)
    : layout_(layout), weights_(weights), gradients_(gradients) {
    const auto elements = static_cast<std::int64_t>(layout.elements);
    if (weights.size() != elements || (!gradients.empty() && gradients.size() != elements)) {
        throw std::invalid_argument("single device: state does not match its layout");
    }
}

TensorView SingleDevice::acquire_weights(std::size_t unit) {
    return unit_range(layout_, weights_, unit);
}

void SingleDevice::release_weights(std::size_t /*unit*/) {}

TensorView SingleDevice::acquire_gradients(std::size_t unit) {
    return unit_range(layout_, gradients_, unit);
}

void SingleDevice::gradients_ready(std::size_t /*unit*/) {}

}  // namespace isoflop::sharding
