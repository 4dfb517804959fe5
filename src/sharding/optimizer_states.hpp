// Where the state of an optimizer lies for each unit. Internal to the sharding layer.
#pragma once

#include <optional>
#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"

namespace isoflop::sharding {

/// Each state is flat over the units that it covers, in model order.
class OptimizerStates {
public:
    OptimizerStates(const cost::OptimizerState& optimizer, const cost::StateLayout& layout,
                    const device::PlannedMemory& memory);

    /// Of one unit, where memory holds one of `sharers` equal parts of every unit. Empty views
    /// where a state does not cover the unit.
    [[nodiscard]] std::vector<device::TensorView> of_unit(std::size_t unit,
                                                          std::int64_t sharers) const;

private:
    struct State {
        device::TensorView flat;
        std::vector<std::optional<std::uint64_t>> offsets;  ///< elements, by unit; without sharers
    };
    const cost::StateLayout& layout_;
    std::vector<State> states_;
};

/// See DataParallel::gather; this rank's part is the communicator's rank-th.
[[nodiscard]] device::TensorView gather_in_planned_memory(device::Context& context,
                                                          const device::PlannedMemory& memory,
                                                          comm::Communicator& communicator,
                                                          const device::TensorView& part);

}  // namespace isoflop::sharding
