// From the advice of a plan to the plan config that plans it.
#pragma once

#include <string>

#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::planner {

/// Annotated JSONC: the advised architecture, execution and batch with the GPUs, data and law of
/// the plan; for a plan with a target loss the cheapest model that reaches it. Planned again, it
/// has the N, D and loss of the advice. Throws ConfigError when no model of the family fits.
[[nodiscard]] std::string emit_advised_plan(const BackwardPlan& plan);

}  // namespace isoflop::planner
