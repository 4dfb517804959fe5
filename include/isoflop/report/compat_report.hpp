// Reports of `--compat dsc180_a06`: the earlier system's figures with its own labels (GiB printed
// as GB), and beside each the exact figure and why they differ.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/compat_dsc180_a06.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

[[nodiscard]] std::string compat_backward_text(const planner::compat::BackwardResult& result,
                                               const planner::BackwardPlan& exact,
                                               text::Colour colour);
[[nodiscard]] nlohmann::ordered_json compat_backward_json(
    const planner::compat::BackwardResult& result, const planner::BackwardPlan& exact);

[[nodiscard]] std::string compat_model_text(const planner::compat::ModelAnalysis& result,
                                            const planner::ModelAnalysis& exact,
                                            text::Colour colour);
[[nodiscard]] nlohmann::ordered_json compat_model_json(const planner::compat::ModelAnalysis& result,
                                                       const planner::ModelAnalysis& exact);

}  // namespace isoflop::report
