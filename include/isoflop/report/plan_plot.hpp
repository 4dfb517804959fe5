// The IsoFLOP curve of a plan as an SVG picture: predicted loss against model size at the compute
// of the plan, with the plan and the optimum marked.
#pragma once

#include <string>

#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::report {

/// The curve follows models with the proportions of the plan's model (planner::ShapeFamily), each
/// trained on D = C / exact training FLOPs per token, under the law of the plan. The picture needs
/// no other file, and has a background of its own.
[[nodiscard]] std::string plan_plot_svg(const planner::BackwardPlan& plan);

}  // namespace isoflop::report
