#include "isoflop/planner/planned_training.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/recipe/emit_train_config.hpp"

namespace isoflop::planner {

double step_law_learning_rate(double non_embedding_params, double n_tokens) {
    return 1.79 * std::pow(non_embedding_params, -0.713) * std::pow(n_tokens, 0.307);
}

std::string emit_planned_training(const BackwardPlan& plan) {
    if (const std::string reason =
            recipe::obstacle_to_training(plan.run.config.model, plan.run.config.execution);
        !reason.empty()) {
        throw ConfigError(fmt::format(
            "--emit-train-config: the trainer does not run {}; the plan itself is valid", reason));
    }
    if (plan.budget.plan_only) {
        throw ConfigError(
            fmt::format("--emit-train-config: the trainer does not run on {}; the plan itself is "
                        "valid",
                        plan.budget.gpu_id));
    }
    const recipe::PlannedRun run{
        .optimizer = plan.run.config.optimizer,
        .steps = static_cast<std::int64_t>(plan.schedule.steps),
        .learning_rate = step_law_learning_rate(
            static_cast<double>(plan.run.parameters.non_embedding), plan.tokens.n_tokens),
        .expected_mfu = plan.budget.mfu,
        .flop_convention = plan.budget.convention};
    std::vector<std::string> heading = {
        fmt::format("Written by scaling-plan: N {}, D {}, C {} FLOP, predicted loss {:.4f} ({}).",
                    human_count(static_cast<double>(plan.run.parameters.total)),
                    human_count(plan.tokens.n_tokens), human_flops(plan.budget.compute_flops),
                    plan.loss.total, plan.law.id),
        fmt::format("Planned for {:.0f} x {} at {:.0f} % MFU ({}), {}.", plan.budget.num_gpus,
                    plan.budget.gpu_id, plan.budget.mfu * 100, to_string(plan.budget.convention),
                    human_seconds(plan.schedule.seconds))};
    if (plan.run.config.execution.world_size > 1) {
        heading.push_back(
            fmt::format("It needs {} ranks, one for each GPU: train --nproc-per-node N "
                        "THIS_FILE on each machine (docs/distributed.md).",
                        plan.run.config.execution.world_size));
    }
    if (plan.run.attention.fell_back())
        heading.push_back(recipe::fallback_warning(plan.run.attention) + ".");
    try {
        return recipe::emit_train_config(plan.run.config.model, plan.run.config.execution, run,
                                         heading);
    } catch (const ConfigError& error) {
        throw ConfigError(
            fmt::format("--emit-train-config: {}; the plan itself is valid", error.what()));
    }
}

}  // namespace isoflop::planner
