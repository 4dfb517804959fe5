// Sums of gradients over the micro-batches of a rank.
//
// A reproducible sum is a binary tree over micro-batches: micro-step i is computed into the buffer
// of level t, the number of trailing ones of i, and completes the sums of levels 0 .. t-1, as
// carries in a binary counter. The last micro-step is computed into the result and adds all pending
// sums. Otherwise all micro-steps are added to the result in order.
#pragma once

#include <cstdint>

#include "isoflop/cost/execution.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::sharding {

class GradientTree {
public:
    /// Over the buffers "gradients" and "pending_gradients"; without the latter sums are in turn.
    GradientTree(device::Context& context, const cost::Execution& execution,
                 const device::PlannedMemory& memory);

    void begin(std::int64_t micro_step);
    /// The sum over all micro-steps, flat.
    [[nodiscard]] const device::TensorView& sum() const { return sum_; }
    [[nodiscard]] bool is_last() const { return micro_step_ + 1 == micro_steps_; }

    /// Destination of the gradients of the current micro-step.
    [[nodiscard]] const device::TensorView& target() const { return target_; }
    /// True when the target already contains a sum to which the micro-step is added.
    [[nodiscard]] bool adds() const { return levels_ == 0 && micro_step_ > 0; }
    /// Elements [first, first + count) of the target are computed: adds the sums that they
    /// complete.
    void complete(std::int64_t first, std::int64_t count);

private:
    [[nodiscard]] device::TensorView level(std::int64_t index) const;

    device::Context& context_;
    device::TensorView sum_;
    device::TensorView pending_;
    device::TensorView target_;
    std::int64_t levels_ = 0;
    std::int64_t micro_steps_;
    std::int64_t micro_step_ = 0;
};

}  // namespace isoflop::sharding
