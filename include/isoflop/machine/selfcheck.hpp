// `train --selfcheck`: the attention backends on the run's own shapes, device and type against a
// double-precision reference, so that a user can check on a machine what the tests check in CI.
#pragma once

#include <string>

#include "isoflop/attention_lab/attention_trial.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/recipe/run_plan.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::machine {

/// One sequence of the run's length with random values.
[[nodiscard]] attention_lab::AttentionTrials check_attention(const recipe::RunPlan& plan,
                                                             device::Context& context);
[[nodiscard]] std::string selfcheck_text(const recipe::RunPlan& plan,
                                         const attention_lab::AttentionTrials& trials,
                                         text::Colour colour);

}  // namespace isoflop::machine
