// How model state is spread over ranks, seen from the transformer: it acquires the weights of a
// unit (embedding, block, head) before it uses them, releases them, and reports when the gradients
// of a unit are complete. The transformer does not know whether a call gathers shards, starts a
// reduction, or does nothing.
#pragma once

#include <cstddef>

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::sharding {

using device::TensorView;

/// A unit's part of a flat state that ranks hold whole.
[[nodiscard]] inline TensorView unit_range(const cost::StateLayout& layout, const TensorView& flat,
                                           std::size_t unit) {
    const cost::StateUnit& place = layout.units.at(unit);
    return flat.flat_range(static_cast<std::int64_t>(place.offset),
                           static_cast<std::int64_t>(place.elements));
}

class Strategy {
public:
    virtual ~Strategy() = default;

    /// All weights of a unit, flat, valid until released. May be called again before the release.
    [[nodiscard]] virtual TensorView acquire_weights(std::size_t unit) = 0;
    virtual void release_weights(std::size_t unit) = 0;
    /// Announces that this unit will be acquired soon, so that a gather can begin.
    virtual void prefetch_weights(std::size_t /*unit*/) {}

    /// Flat gradient of a unit to accumulate into, valid until gradients_ready(unit).
    [[nodiscard]] virtual TensorView acquire_gradients(std::size_t unit) = 0;
    /// The current micro-batch has added everything to this unit's gradient.
    virtual void gradients_ready(std::size_t unit) = 0;
};

}  // namespace isoflop::sharding
