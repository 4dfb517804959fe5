// What a plan was given and what was solved for, as notes of rows and as JSON. Internal to the
// report layer. Plans of a budget (GPUs and hours) have no such notes.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

[[nodiscard]] std::string gpus_note(const planner::BackwardPlan& plan);
[[nodiscard]] std::string hours_note(const planner::BackwardPlan& plan);
[[nodiscard]] std::string tokens_note(const planner::BackwardPlan& plan);

/// Lines of GPUs and hours for a quiet report.
[[nodiscard]] std::string quiet_solution(const planner::BackwardPlan& plan);

/// The target loss, and the model of the same proportions that reaches it with the least compute;
/// nothing without a target loss.
void target_loss_rows(text::TextReport& report, const planner::BackwardPlan& plan);

[[nodiscard]] nlohmann::ordered_json advice_json(const std::optional<planner::Advice>& advice);
[[nodiscard]] nlohmann::ordered_json solved_json(const planner::BackwardPlan& plan);

}  // namespace isoflop::report
