// Sums of gradients over the micro-batches of a rank.
//
// A reproducible sum is a binary tree over micro-batches: micro-step i is computed into the buffer
// of level t, the number of trailing ones of i, and completes the sums of levels 0 .. t-1, as
// carries do when counting. The last one is computed into the result and takes in whatever waits.
// Otherwise all are added to the result in turn.
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
    /// Where the sum over all micro-steps ends up, flat.
    [[nodiscard]] const device::TensorView& sum() const { return sum_; }
    [[nodiscard]] bool is_last() const { return micro_step_ + 1 == micro_steps_; }

    /// Where the gradients of the current micro-step go.
    [[nodiscard]] const device::TensorView& target() const { return target_; }
    /// True when the target holds a sum already, to which the micro-step adds.
    [[nodiscard]] bool adds() const { return levels_ == 0 && micro_step_ > 0; }
    /// Elements [first, first + count) of the target are computed: takes in the sums they complete.
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
