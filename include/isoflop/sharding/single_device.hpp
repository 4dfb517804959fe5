// All state on one rank.
#pragma once

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/sharding/strategy.hpp"

namespace isoflop::sharding {

class SingleDevice final : public Strategy {
public:
    /// weights and gradients: flat, layout.elements long; gradients may be empty for inference.
    SingleDevice(const cost::StateLayout& layout, TensorView weights, TensorView gradients);
    [[nodiscard]] TensorView acquire_weights(std::size_t unit) override;
    void release_weights(std::size_t unit) override;
    [[nodiscard]] TensorView acquire_gradients(std::size_t unit) override;
    void gradients_ready(std::size_t unit) override;

private:
    const cost::StateLayout& layout_;
    TensorView weights_;
    TensorView gradients_;
};

}  // namespace isoflop::sharding
