#include "sharding/optimizer_states.hpp"

#include "isoflop/ops/reduction.hpp"

namespace isoflop::sharding {

using device::TensorView;
using optimizer::StateView;

OptimizerStates::OptimizerStates(const cost::OptimizerState& optimizer,
                                 const cost::StateLayout& layout,
                                 const device::PlannedMemory& memory, std::int64_t sharers)
    : layout_(layout), sharers_(sharers) {
    for (const cost::OptimizerTensor& tensor : optimizer.tensors) {
        State state{.description = &tensor, .flat = memory.optimizer_state(tensor)};
        if (tensor.kept_for != nullptr) state.covered = cost::covered_ranges(tensor, layout);
        std::uint64_t end = 0;
        for (const cost::StateUnit& unit : layout.units) {
            state.offsets.push_back(end);
            const cost::ElementRange whole{unit.offset, unit.offset + unit.elements};
            end += state.covered ? state.covered->largest_part(whole, sharers)
                                 : unit.elements / static_cast<std::uint64_t>(sharers);
        }
        states_.push_back(std::move(state));
    }
}

std::vector<StateView> OptimizerStates::of_unit(std::size_t unit, std::int64_t index) const {
    const cost::StateUnit& place = layout_.units.at(unit);
    const auto count = static_cast<std::int64_t>(place.elements) / sharers_;
    const std::uint64_t first = place.offset + static_cast<std::uint64_t>(index * count);
    std::vector<StateView> views;
    for (const State& state : states_) {
        StateView view{state.description, {}, first, state.covered ? &*state.covered : nullptr};
        const std::int64_t held = view.place_of(first + static_cast<std::uint64_t>(count));
        if (held > 0) {
            view.values =
                state.flat.flat_range(static_cast<std::int64_t>(state.offsets.at(unit)), held);
        }
        views.push_back(view);
    }
    return views;
}

StateView gather_in_planned_memory(device::Context& context, const device::PlannedMemory& memory,
                                   comm::Communicator& communicator, const cost::StateUnit& unit,
                                   const StateView& part) {
    const cost::ElementRange all{unit.offset, unit.offset + unit.elements};
    if (part.covered != nullptr && part.covered->within(all).empty())
        return {part.description, {}, unit.offset};
    const auto elements = static_cast<std::int64_t>(unit.elements);
    const std::int64_t count = elements / communicator.size();
    const TensorView whole =
        memory.flat_state(cost::BufferId::gathered_state).flat_range(0, elements);
    const TensorView mine = whole.flat_range(communicator.rank() * count, count);
    if (part.covered == nullptr) {
        ops::copy(context, part.values, mine);
    } else {  // each range where its weights are in the unit
        ops::fill(context, 0.0, mine);
        for (const cost::ElementRange& range :
             part.covered->within({part.first, part.first + static_cast<std::uint64_t>(count)})) {
            const auto length = static_cast<std::int64_t>(range.end - range.begin);
            ops::copy(context, part.values.flat_range(part.place_of(range.begin), length),
                      mine.flat_range(static_cast<std::int64_t>(range.begin - part.first), length));
        }
    }
    communicator.all_gather(whole).wait();
    return {part.description, whole, unit.offset};
}

}  // namespace isoflop::sharding
