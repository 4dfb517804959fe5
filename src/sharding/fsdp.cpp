#include "sharding/fsdp.hpp"

#include <stdexcept>

#include "isoflop/ops/reduction.hpp"

namespace isoflop::sharding {

Fsdp::Fsdp(const DataParallelOptions& options, const cost::StateLayout& layout,
           const device::PlannedMemory& memory, device::Context& context, const RankGroups& groups)
    : execution_(options.execution),
      layout_(layout),
      memory_(memory),
      context_(context),
      communicator_(*groups.shard),
      copies_(groups.copies),
      tree_(context, execution_, memory),
      optimizer_states_(*options.optimizer, layout, memory, groups.shard->size()) {
    const TensorView weights = memory.flat_state(cost::BufferId::weights);
    TensorView master_weights;
    if (execution_.has_master_weights())
        master_weights = memory.flat_state(cost::BufferId::master_weights);
    const auto size = static_cast<std::uint64_t>(communicator_.size());
    const auto rank = static_cast<std::uint64_t>(communicator_.rank());
    for (std::size_t unit = 0; unit < layout_.units.size(); ++unit) {
        const cost::StateUnit& place = layout_.units[unit];
        const auto range = [&](const TensorView& flat) {
            if (flat.empty()) return flat;
            return flat.flat_range(static_cast<std::int64_t>(place.offset / size),
                                   part_elements(unit));
        };
        slices_.push_back({unit, place.offset + rank * (place.elements / size), range(weights),
                           range(tree_.sum()), range(master_weights),
                           optimizer_states_.of_unit(unit, communicator_.rank())});
    }
    make_weight_slots(memory);
    make_gradient_slots(memory);
}

void Fsdp::make_weight_slots(const device::PlannedMemory& memory) {
    const TensorView all = memory.flat_state(cost::BufferId::gathered_weights);
    if (!execution_.reshard_after_forward) {  // every unit has a slot of its own
        for (const cost::StateUnit& unit : layout_.units) {
            weight_slots_.emplace_back().memory = all.flat_range(
                static_cast<std::int64_t>(unit.offset), static_cast<std::int64_t>(unit.elements));
        }
        return;
    }
    const std::int64_t count = memory.plan().find(cost::BufferId::gathered_weights)->count;
    const std::int64_t each = all.size() / count;
    for (std::int64_t i = 0; i < count; ++i)
        weight_slots_.emplace_back().memory = all.flat_range(i * each, each);
}

void Fsdp::make_gradient_slots(const device::PlannedMemory& memory) {
    const TensorView all = memory.flat_state(cost::BufferId::unreduced_gradients);
    const std::int64_t count = memory.plan().find(cost::BufferId::unreduced_gradients)->count;
    const std::int64_t each = all.size() / count;
    for (std::int64_t i = 0; i < count; ++i)
        gradient_slots_.emplace_back().memory = all.flat_range(i * each, each);
}

std::int64_t Fsdp::elements(std::size_t unit) const {
    return static_cast<std::int64_t>(layout_.units.at(unit).elements);
}

std::int64_t Fsdp::part_elements(std::size_t unit) const {
    return elements(unit) / communicator_.size();
}

TensorView Fsdp::own_part(const Slot& slot, std::size_t unit) const {
    const std::int64_t count = part_elements(unit);
    return slot.memory.flat_range(communicator_.rank() * count, count);
}

Fsdp::Slot* Fsdp::find(std::vector<Slot>& slots, std::size_t unit) {
    for (Slot& slot : slots) {
        if (slot.unit == unit) return &slot;
    }
    return nullptr;
}

Fsdp::Slot* Fsdp::free_slot() {
    Slot* oldest = nullptr;
    for (Slot& slot : weight_slots_) {
        if (slot.holders > 0) continue;
        if (oldest == nullptr || slot.last_use < oldest->last_use) oldest = &slot;
    }
    return oldest;
}

void Fsdp::gather_weights(Slot& slot, std::size_t unit) {
    slot.pending.wait();  // of a prefetch that was not used
    slot.unit = unit;
    slot.last_use = ++uses_;
    ops::copy(context_, slices_[unit].weights, own_part(slot, unit));
    slot.pending = communicator_.all_gather(slot.memory.flat_range(0, elements(unit)));
}

TensorView Fsdp::acquire_weights(std::size_t unit) {
    Slot* slot = find(weight_slots_, unit);
    if (slot == nullptr) {
        slot = execution_.reshard_after_forward ? free_slot() : &weight_slots_[unit];
        if (slot == nullptr) throw std::logic_error("fsdp: more units in use than were planned");
        gather_weights(*slot, unit);
    }
    slot->pending.wait();
    slot->last_use = ++uses_;
    ++slot->holders;
    return slot->memory.flat_range(0, elements(unit));
}

void Fsdp::release_weights(std::size_t unit) {
    Slot* slot = find(weight_slots_, unit);
    if (slot == nullptr || slot->holders == 0)
        throw std::logic_error("fsdp: released weights that were not acquired");
    --slot->holders;
}

void Fsdp::prefetch_weights(std::size_t unit) {
    if (find(weight_slots_, unit) != nullptr) return;
    Slot* slot = execution_.reshard_after_forward ? free_slot() : &weight_slots_[unit];
    if (slot != nullptr) gather_weights(*slot, unit);
}

void Fsdp::forget_gathered() {
    for (Slot& slot : weight_slots_) {
        slot.pending.wait();
        slot.unit.reset();
    }
}

Fsdp::Slot& Fsdp::free_gradient_slot() {
    Slot* reducing = nullptr;
    for (Slot& slot : gradient_slots_) {
        if (!slot.unit) return slot;
        if (slot.reducing && (reducing == nullptr || slot.last_use < reducing->last_use))
            reducing = &slot;
    }
    if (reducing == nullptr)
        throw std::logic_error("fsdp: more gradients in use than were planned");
    collect(*reducing);
    return *reducing;
}

TensorView Fsdp::acquire_gradients(std::size_t unit) {
    Slot* slot = find(gradient_slots_, unit);
    if (slot == nullptr) {
        slot = &free_gradient_slot();
        slot->unit = unit;
        ops::fill(context_, 0.0, slot->memory.flat_range(0, elements(unit)));
    }
    return slot->memory.flat_range(0, elements(unit));
}

void Fsdp::gradients_ready(std::size_t unit) {
    Slot* slot = find(gradient_slots_, unit);
    if (slot == nullptr) throw std::logic_error("fsdp: gradients ready that were not acquired");
    slot->pending = communicator_.reduce_scatter(slot->memory.flat_range(0, elements(unit)));
    slot->reducing = true;
    slot->last_use = ++uses_;
}

void Fsdp::collect(Slot& slot) {
    const std::size_t unit = slot.unit.value();
    slot.pending.wait();
    const auto first = static_cast<std::int64_t>(layout_.units[unit].offset) / communicator_.size();
    const std::int64_t count = part_elements(unit);
    const TensorView sum = tree_.target().flat_range(first, count);
    if (tree_.adds()) {
        ops::add(context_, sum, own_part(slot, unit), sum);
    } else {
        ops::copy(context_, own_part(slot, unit), sum);
    }
    tree_.complete(first, count);
    if (tree_.is_last() && copies_ != nullptr) copy_sums_.push_back(copies_->all_reduce(sum));
    slot.unit.reset();
    slot.reducing = false;
}

void Fsdp::collect_all() {
    for (Slot& slot : gradient_slots_) {
        if (slot.unit) collect(slot);
    }
}

std::int64_t Fsdp::global_micro_step(std::int64_t micro_step) const {
    const std::int64_t copy = copies_ == nullptr ? 0 : copies_->rank();
    return (copy * execution_.grad_accum_steps + micro_step) * communicator_.size() +
           communicator_.rank();
}

std::vector<StateSlice> Fsdp::disjoint_slices() const {
    if (copies_ == nullptr) return slices_;
    std::vector<StateSlice> parts;
    parts.reserve(slices_.size());
    for (const StateSlice& slice : slices_)
        parts.push_back(part_of(slice, copies_->rank(), copies_->size()));
    return parts;
}

void Fsdp::begin_micro_step(std::int64_t micro_step) {
    collect_all();
    if (execution_.reshard_after_forward) forget_gathered();
    tree_.begin(micro_step);
}

void Fsdp::finish_gradients() {
    collect_all();
    for (comm::Pending& sum : copy_sums_) sum.wait();
    copy_sums_.clear();
}

void Fsdp::weights_changed() {
    forget_gathered();
}

optimizer::StateView Fsdp::gather(const StateSlice& slice, std::size_t state) {
    return gather_in_planned_memory(context_, memory_, communicator_, layout_.units.at(slice.unit),
                                    slice.optimizer_state.at(state));
}

void Fsdp::synchronize() {
    for (Slot& slot : weight_slots_) slot.pending.wait();
}

}  // namespace isoflop::sharding
