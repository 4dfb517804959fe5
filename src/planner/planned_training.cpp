#include "isoflop/planner/planned_training.hpp"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/recipe/emit_train_config.hpp"
#include "isoflop/recipe/memory_fit.hpp"

namespace isoflop::planner {

namespace {

/// Training configs name GPUs of the built-in table. A row of another table with the same name is
/// not what its reader would compare with.
std::string named_gpu(const ComputeBudget& budget) {
    return budget.is_builtin ? budget.gpu_id : std::string();
}

/// Where the learning rate comes from.
std::string rule_of_rate(const BackwardPlan& plan) {
    std::string law = "Step Law, arXiv 2503.04715";
    if (plan.batch.ratio() >= 1) return law;
    return fmt::format("{}, x sqrt({} / {} tokens usual in a batch), arXiv 2205.10782", law,
                       human_count(plan.batch.batch_tokens), human_count(plan.batch.usual_tokens));
}

/// The data must have tokens for one step.
void refuse_large_step(const BackwardPlan& plan) {
    const std::optional<double>& limit = plan.tokens.data_limited;
    if (!limit || plan.schedule.tokens_per_step <= *limit) return;
    const cost::Execution& execution = plan.run.config.execution;
    const bool smaller_batch_fits = plan.batch.advised_tokens <= *limit;
    const std::string remedy = smaller_batch_fits ? batch_setting(plan.batch, execution)
                                                  : std::string("fewer GPUs, shorter sequences");
    throw ConfigError(fmt::format(
        "--emit-train-config: one step trains on {:.0f} tokens (batch_size {} x "
        "gradient_accumulation_steps {} x {} GPUs x sequence_length {}), more than the {:.0f} that "
        "dataset_size x max_epochs allow; use {}, or more data; the plan itself is valid",
        plan.schedule.tokens_per_step, execution.micro_batch_size, execution.grad_accum_steps,
        execution.world_size, execution.sequence_length, *limit, remedy));
}

}  // namespace

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
    refuse_large_step(plan);
    const recipe::PlannedRun run{.optimizer = plan.run.config.optimizer,
                                 .steps = static_cast<std::int64_t>(plan.schedule.steps),
                                 .learning_rate = matched_learning_rate(
                                     static_cast<double>(plan.run.parameters.non_embedding),
                                     plan.tokens.n_tokens, plan.batch.batch_tokens),
                                 .learning_rate_rule = rule_of_rate(plan),
                                 .expected_mfu = plan.budget.mfu,
                                 .flop_convention = plan.budget.convention,
                                 .gpu_type = named_gpu(plan.budget)};
    std::vector<std::string> heading = {
        fmt::format("Written by scaling-plan: N {}, D {}, C {} FLOP, predicted loss {:.4f} ({}).",
                    human_count(static_cast<double>(plan.run.parameters.total)),
                    human_count(plan.tokens.n_tokens), human_flops(plan.budget.compute_flops),
                    plan.loss_with_repetition.total, plan.law.id),
        fmt::format("Planned for {:.0f} x {} at {:.0f} % MFU ({}), {}.", plan.budget.num_gpus,
                    plan.budget.gpu_id, plan.budget.mfu * 100, to_string(plan.budget.convention),
                    human_seconds(plan.schedule.seconds))};
    const recipe::MemoryFit fit =
        recipe::memory_fit(plan.run, plan.memory.capacity_bytes, recipe::KeysOf::training);
    heading.push_back(fmt::format("A rank {}.", recipe::fit_sentence(fit, plan.budget.gpu_id)));
    if (plan.run.config.execution.world_size > 1) {
        heading.push_back(
            fmt::format("It needs {} ranks, one for each GPU: train --nproc-per-node N "
                        "THIS_FILE on each machine (docs/distributed.md).",
                        plan.run.config.execution.world_size));
    }
    if (std::string warning = batch_warning(plan.batch, plan.run.config.execution);
        !warning.empty()) {
        heading.push_back(fmt::format("Unusual: {}.", warning));
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
