// Where the state of an optimizer lies for each unit. Internal to the sharding layer.
#pragma once

#include <optional>
#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/cost/state_coverage.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::sharding {

/// Each state is flat over the weights that it covers, in model order. Memory holds one of
/// `sharers` equal parts of every unit; where a state covers more of one part than of another, each
/// has room for the larger. Views refer to this object.
class OptimizerStates {
public:
    OptimizerStates(const cost::OptimizerState& optimizer, const cost::StateLayout& layout,
                    const device::PlannedMemory& memory, std::int64_t sharers);
    OptimizerStates(const OptimizerStates&) = delete;
    OptimizerStates& operator=(const OptimizerStates&) = delete;

    /// Of part `index` of a unit.
    [[nodiscard]] std::vector<optimizer::StateView> of_unit(std::size_t unit,
                                                            std::int64_t index) const;

private:
    struct State {
        const cost::OptimizerTensor* description = nullptr;
        device::TensorView flat = {};
        std::optional<cost::ElementRanges> covered = {};  ///< nullopt: all
        std::vector<std::uint64_t> offsets = {};          ///< of a part of each unit in `flat`
    };
    const cost::StateLayout& layout_;
    std::int64_t sharers_;
    std::vector<State> states_;
};

/// See DataParallel::gather; `part` is the communicator's rank-th part of the unit.
[[nodiscard]] optimizer::StateView gather_in_planned_memory(device::Context& context,
                                                            const device::PlannedMemory& memory,
                                                            comm::Communicator& communicator,
                                                            const cost::StateUnit& unit,
                                                            const optimizer::StateView& part);

}  // namespace isoflop::sharding
