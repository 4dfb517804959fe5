#include "isoflop/sharding/data_parallel.hpp"

#include <stdexcept>

#include "sharding/fsdp.hpp"
#include "sharding/replicated.hpp"

namespace isoflop::sharding {

std::vector<TensorPart> tensor_parts(const cost::StateLayout& layout, const StateSlice& slice) {
    return cost::tensor_parts(layout, slice.unit, slice.first, slice.weights.size());
}

StateSlice part_of(const StateSlice& slice, std::int64_t index, std::int64_t parts) {
    const std::int64_t count = slice.weights.size() / parts;
    const auto part = [&](const TensorView& flat) {
        return flat.empty() ? TensorView() : flat.flat_range(index * count, count);
    };
    StateSlice result{slice.unit, slice.first + static_cast<std::uint64_t>(index * count),
                      part(slice.weights), part(slice.gradients), part(slice.master_weights)};
    for (const optimizer::StateView& state : slice.optimizer_state)
        result.optimizer_state.push_back(state.interval(result.first, count));
    return result;
}

std::unique_ptr<DataParallel> make_data_parallel(const DataParallelOptions& options,
                                                 const cost::StateLayout& layout,
                                                 const device::PlannedMemory& memory,
                                                 device::Context& context,
                                                 const RankGroups& groups) {
    const cost::Execution& execution = options.execution;
    if (execution.world_size == 1)
        return std::make_unique<Ddp>(options, layout, memory, context, nullptr);
    if (groups.all == nullptr || groups.all->size() != execution.world_size)
        throw std::logic_error("data parallel: the communicator does not span the planned ranks");
    switch (execution.parallelism) {
        case cost::Parallelism::ddp:
            return std::make_unique<Ddp>(options, layout, memory, context, groups.all);
        case cost::Parallelism::zero1:
            return std::make_unique<Zero1>(options, layout, memory, context, groups.all);
        case cost::Parallelism::fsdp:
            return std::make_unique<Fsdp>(options, layout, memory, context, groups);
        case cost::Parallelism::zero2: break;
    }
    throw std::logic_error("data parallel: the trainer has no zero2");
}

}  // namespace isoflop::sharding
