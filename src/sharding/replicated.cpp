#include "sharding/replicated.hpp"

#include "isoflop/ops/reduction.hpp"

namespace isoflop::sharding {
Replicated::Replicated(const DataParallelOptions& options, const cost::StateLayout& layout,
                       const device::PlannedMemory& memory, device::Context& context,
                       comm::Communicator* communicator, std::int64_t sharers)
    : execution_(options.execution),
      layout_(layout),
      memory_(memory),
      context_(context),
      communicator_(communicator),
      weights_(memory.flat_state(cost::BufferId::weights)),
      tree_(context, execution_, memory),
      gradients_(tree_.sum()),
      optimizer_states_(*options.optimizer, layout, memory, sharers) {
    if (execution_.has_master_weights())
        master_weights_ = memory.flat_state(cost::BufferId::master_weights);
}

TensorView Replicated::acquire_weights(std::size_t unit) {
    return unit_range(layout_, weights_, unit);
}

TensorView Replicated::acquire_gradients(std::size_t unit) {
    return unit_range(layout_, tree_.target(), unit);
}

void Replicated::gradients_ready(std::size_t unit) {
    const cost::StateUnit& place = layout_.units.at(unit);
    tree_.complete(static_cast<std::int64_t>(place.offset),
                   static_cast<std::int64_t>(place.elements));
    if (tree_.is_last() && communicator_ != nullptr) reduce(unit);
}

std::int64_t Replicated::global_micro_step(std::int64_t micro_step) const {
    const std::int64_t rank = communicator_ == nullptr ? 0 : communicator_->rank();
    return rank * execution_.grad_accum_steps + micro_step;
}

void Replicated::begin_micro_step(std::int64_t micro_step) {
    tree_.begin(micro_step);
    if (!tree_.adds()) ops::fill(context_, 0.0, tree_.target());
}

void Replicated::finish_gradients() {
    for (comm::Pending& reduction : reductions_) reduction.wait();
    reductions_.clear();
}

Ddp::Ddp(const DataParallelOptions& options, const cost::StateLayout& layout,
         const device::PlannedMemory& memory, device::Context& context,
         comm::Communicator* communicator)
    : Replicated(options, layout, memory, context, communicator, 1),
      bucket_bytes_(options.ddp_bucket_bytes) {
    for (std::size_t unit = 0; unit < layout_.units.size(); ++unit) {
        slices_.push_back(
            {unit, layout_.units[unit].offset, unit_range(layout_, weights_, unit),
             unit_range(layout_, gradients_, unit),
             master_weights_.empty() ? TensorView() : unit_range(layout_, master_weights_, unit),
             optimizer_states_.of_unit(unit, 0)});
    }
}

std::vector<StateSlice> Ddp::disjoint_slices() const {
    if (communicator_ == nullptr) return slices_;
    std::vector<StateSlice> parts;
    for (const StateSlice& slice : slices_)
        parts.push_back(part_of(slice, communicator_->rank(), communicator_->size()));
    return parts;
}

/// Units become ready from the last to the first; a bucket is a run of them.
void Ddp::reduce(std::size_t unit) {
    if (unit + 1 == layout_.units.size()) bucket_end_ = unit + 1;
    const cost::StateUnit& first = layout_.units[unit];
    const cost::StateUnit& last = layout_.units[bucket_end_ - 1];
    const std::uint64_t elements = last.offset + last.elements - first.offset;
    const bool full = elements * size_in_bytes(gradients_.dtype()) >= bucket_bytes_;
    if (!full && unit > 0) return;
    reductions_.push_back(communicator_->all_reduce(gradients_.flat_range(
        static_cast<std::int64_t>(first.offset), static_cast<std::int64_t>(elements))));
    bucket_end_ = unit;
}

Zero1::Zero1(const DataParallelOptions& options, const cost::StateLayout& layout,
             const device::PlannedMemory& memory, device::Context& context,
             comm::Communicator* communicator)
    : Replicated(options, layout, memory, context, communicator, communicator->size()),
      gathers_(layout.units.size()) {
    const auto rank = static_cast<std::uint64_t>(communicator_->rank());
    const auto size = static_cast<std::uint64_t>(communicator_->size());
    for (std::size_t unit = 0; unit < layout_.units.size(); ++unit) {
        const cost::StateUnit& place = layout_.units[unit];
        const std::uint64_t count = place.elements / size;
        const std::uint64_t first = place.offset + rank * count;
        const auto range = [&](const TensorView& flat, std::uint64_t begin) {
            return flat.flat_range(static_cast<std::int64_t>(begin),
                                   static_cast<std::int64_t>(count));
        };
        slices_.push_back(
            {unit, first, range(weights_, first), range(gradients_, first),
             master_weights_.empty() ? TensorView() : range(master_weights_, place.offset / size),
             optimizer_states_.of_unit(unit, communicator_->rank())});
    }
}

TensorView Zero1::acquire_weights(std::size_t unit) {
    gathers_[unit].wait();
    return unit_range(layout_, weights_, unit);
}

void Zero1::weights_changed() {
    for (std::size_t unit = 0; unit < gathers_.size(); ++unit)
        gathers_[unit] = communicator_->all_gather(unit_range(layout_, weights_, unit));
}

optimizer::StateView Zero1::gather(const StateSlice& slice, std::size_t state) {
    return gather_in_planned_memory(context_, memory_, *communicator_, layout_.units.at(slice.unit),
                                    slice.optimizer_state.at(state));
}

void Zero1::synchronize() {
    for (comm::Pending& gather : gathers_) gather.wait();
}

void Zero1::reduce(std::size_t unit) {
    reductions_.push_back(communicator_->reduce_scatter(unit_range(layout_, gradients_, unit)));
}

}  // namespace isoflop::sharding
