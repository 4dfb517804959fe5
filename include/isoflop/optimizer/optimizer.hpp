// How weights are updated. An optimizer is an entry in two lists: its state in
// cost/optimizer_state.hpp, from which memory is planned, allocated, divided over ranks and
// checkpointed, and its update here (registry.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::optimizer {

using device::TensorView;

/// What all weights have in common in one update.
struct Update {
    std::int64_t step = 1;  ///< number of the update, from 1
    double learning_rate = 0;
    double weight_decay = 0;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;          ///< never 0: an update of state that is still zero divides by it
    double gradient_scale = 1;  ///< gradients are multiplied by it first
    /// 16-bit weights are rounded up or down at random: a function of (seed, step, element).
    bool stochastic_rounding = false;
    std::uint64_t rounding_seed = 0;
};

/// The part of one unit (embedding, block, head) that this rank updates: flat views of equal
/// length.
struct Slice {
    std::size_t unit = 0;
    std::uint64_t first_element = 0;   ///< of the whole model state
    std::uint64_t offset_in_unit = 0;  ///< of it in the unit
    TensorView weights;
    TensorView gradients;
    TensorView master_weights;  ///< empty where weights are fp32
    /// In the order of the description; empty where a state does not cover the unit.
    std::span<const TensorView> state;
    std::vector<cost::TensorPart> parts;  ///< in memory order, without padding
    /// With whole_matrices: the tensors of the whole unit, and what makes a flat tensor of
    /// statistics, of which this rank has its slice, whole: a collective, valid until the next one.
    std::vector<cost::TensorPart> unit_parts;
    std::function<TensorView(const TensorView& slice)> gather;
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

using Factory = std::unique_ptr<Optimizer> (*)();

/// Adds an optimizer to the built-in ones. `state` must live as long as the program.
void register_optimizer(const cost::OptimizerState& state, Factory make);

/// Throws std::logic_error for a state that is not registered.
[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const cost::OptimizerState& state);

}  // namespace isoflop::optimizer
