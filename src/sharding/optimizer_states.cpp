#include "sharding/optimizer_states.hpp"

#include "isoflop/ops/reduction.hpp"

namespace isoflop::sharding {

using device::TensorView;

OptimizerStates::OptimizerStates(const cost::OptimizerState& optimizer,
                                 const cost::StateLayout& layout,
                                 const device::PlannedMemory& memory)
    : layout_(layout) {
    for (const cost::OptimizerTensor& tensor : optimizer.tensors) {
        State state{memory.optimizer_state(tensor), {}};
        std::uint64_t end = 0;
        for (const cost::StateUnit& unit : layout.units) {
            state.offsets.push_back(tensor.covers(unit.kind) ? std::optional(end) : std::nullopt);
            if (tensor.covers(unit.kind)) end += unit.elements;
        }
        states_.push_back(std::move(state));
    }
}

std::vector<TensorView> OptimizerStates::of_unit(std::size_t unit, std::int64_t sharers) const {
    const auto count = static_cast<std::int64_t>(layout_.units.at(unit).elements) / sharers;
    std::vector<TensorView> views;
    for (const State& state : states_) {
        const auto& offset = state.offsets.at(unit);
        views.push_back(
            offset ? state.flat.flat_range(static_cast<std::int64_t>(*offset) / sharers, count)
                   : TensorView());
    }
    return views;
}

TensorView gather_in_planned_memory(device::Context& context, const device::PlannedMemory& memory,
                                    comm::Communicator& communicator, const TensorView& part) {
    const std::int64_t count = part.size();
    const TensorView whole = memory.flat_state(cost::BufferId::gathered_state)
                                 .flat_range(0, count * communicator.size());
    ops::copy(context, part, whole.flat_range(communicator.rank() * count, count));
    communicator.all_gather(whole).wait();
    return whole;
}

}  // namespace isoflop::sharding
