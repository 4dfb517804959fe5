// From a plan to the training config that executes it.
#pragma once

#include <string>

#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::planner {

/// Annotated JSONC for `train`: the plan's architecture, batch, steps and execution, and a learning
/// rate from a published rule, matched to the batch (batch_size.hpp). Throws ConfigError that names
/// what the trainer does not run (mixture of experts, latent attention, sandwich norms, ALiBi,
/// parallel residual, full-width QK norm, windows shorter than the context, learned positions
/// beyond it, biases on q, k and v only, rope scaling other than llama3's, zero2, 8- and 4-bit
/// products, gradients of a type of their own).
[[nodiscard]] std::string emit_planned_training(const BackwardPlan& plan);

}  // namespace isoflop::planner
