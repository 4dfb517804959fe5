#include "sharding/gradient_tree.hpp"

#include <bit>

#include "isoflop/ops/reduction.hpp"

namespace isoflop::sharding {

using device::TensorView;

GradientTree::GradientTree(device::Context& context, const cost::Execution& execution,
                           const device::PlannedMemory& memory)
    : context_(context),
      sum_(memory.flat_state(cost::BufferId::gradients)),
      target_(sum_),
      micro_steps_(execution.grad_accum_steps) {
    if (!memory.has(cost::BufferId::pending_gradients)) return;
    pending_ = memory.flat_state(cost::BufferId::pending_gradients);
    levels_ = pending_.size() / sum_.size();
}

TensorView GradientTree::level(std::int64_t index) const {
    return pending_.flat_range(index * sum_.size(), sum_.size());
}

void GradientTree::begin(std::int64_t micro_step) {
    micro_step_ = micro_step;
    const int trailing_ones = std::countr_one(static_cast<std::uint64_t>(micro_step));
    target_ = levels_ == 0 || is_last() ? sum_ : level(trailing_ones);
}

void GradientTree::complete(std::int64_t first, std::int64_t count) {
    const TensorView part = target_.flat_range(first, count);
    const auto bits = static_cast<std::uint64_t>(micro_step_);
    for (std::int64_t index = 0; index < levels_; ++index) {
        const bool waits = ((bits >> index) & 1U) != 0;
        if (!waits && !is_last()) return;  // the carry stops here
        if (waits) ops::add(context_, part, level(index).flat_range(first, count), part);
    }
}

}  // namespace isoflop::sharding
