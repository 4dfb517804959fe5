// How weights are updated. An optimizer describes its state in cost/optimizer_state.hpp, from which
// memory is planned, allocated, divided over ranks and checkpointed; its update is a class here,
// which is made with the constants of the run (trainer/run_optimizer.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "isoflop/cost/state_coverage.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::optimizer {

using device::TensorView;

/// What changes from one update to the next.
struct Update {
    std::int64_t step = 1;  ///< number of the update, from 1
    double learning_rate = 0;
    double gradient_scale = 1;  ///< gradients are multiplied by it first
};

/// A state of the optimizer for an interval of the model state: the values of the tensors that it
/// covers, behind each other. Parts of tensors lie in the interval.
struct StateView {
    const cost::OptimizerTensor* description = nullptr;
    TensorView values = {};   ///< empty where the state covers nothing of the interval
    std::uint64_t first = 0;  ///< element of the model state that the interval begins with
    /// The elements of the model state that have a place in `values`; nullptr: all.
    const cost::ElementRanges* covered = nullptr;

    /// Of the part of a tensor; empty where the state does not cover the tensor.
    [[nodiscard]] TensorView of(const cost::TensorPart& part) const;
    /// Of a whole tensor.
    [[nodiscard]] TensorView of(const cost::StateTensor& tensor) const;
    /// Of the `count` elements of the model state from `begin`.
    [[nodiscard]] StateView interval(std::uint64_t begin, std::int64_t count) const;
    /// Place in `values` of an element of the model state.
    [[nodiscard]] std::int64_t place_of(std::uint64_t element) const;
};

/// The part of one unit (embedding, block, head) that this rank updates: flat views of equal
/// length, and the states.
struct Slice {
    std::size_t unit = 0;
    std::uint64_t first_element = 0;  ///< of the whole model state
    TensorView weights;
    TensorView gradients;
    TensorView master_weights;            ///< empty where weights are fp32
    std::span<const StateView> state;     ///< in the order of the description
    std::vector<cost::TensorPart> parts;  ///< in memory order, without padding
    /// With whole_matrices: a state of all tensors of the unit, valid until the next call; without
    /// values where the state covers none of them. A collective: where one rank calls it, all do.
    std::function<StateView(std::size_t state)> gather;
};

/// Stateless: what changes from step to step is in memory of the plan.
class Optimizer {
public:
    virtual ~Optimizer() = default;
    [[nodiscard]] virtual const cost::OptimizerState& state() const = 0;
    /// Updates weights (by way of the master weights where there are such) and state. A learning
    /// rate of zero leaves master weights as they are, and only rounds them; state that is zero
    /// then stays zero with zero gradients.
    virtual void update(device::Context& context, const Update& update,
                        const Slice& slice) const = 0;
};

}  // namespace isoflop::optimizer
