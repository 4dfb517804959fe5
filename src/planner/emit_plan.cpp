#include "isoflop/planner/emit_plan.hpp"

#include <fmt/format.h>

#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/optimum.hpp"
#include "isoflop/recipe/emit_plan_config.hpp"

namespace isoflop::planner {
namespace {

std::string purpose_of(const BackwardPlan& given) {
    if (!given.solution.target_loss)
        return "Written by scaling-plan: the model of this family that is best within the limits.";
    return fmt::format(
        "Written by scaling-plan: the model of this family that reaches loss {:.6g} with the least "
        "compute.",
        *given.solution.target_loss);
}

std::vector<std::string> heading_of(const BackwardPlan& given, const Advice& advice) {
    const BackwardPlan& plan = *advice.plan;
    std::vector<std::string> heading = {
        purpose_of(given),
        fmt::format("N {}, D {}, C {} FLOP, predicted loss {:.4f} ({}).",
                    human_count(static_cast<double>(plan.run.parameters.total)),
                    human_count(plan.tokens.n_tokens), human_flops(plan.budget.compute_flops),
                    plan.loss_with_repetition.total, plan.law.id)};
    if (!given.solution.target_loss)
        heading.push_back(fmt::format("Limit: {}.", limit_text(given)));
    heading.push_back(fmt::format("Memory {} of {} per GPU, time {}.",
                                  human_bytes(static_cast<double>(plan.memory.planned_bytes)),
                                  human_bytes(static_cast<double>(plan.memory.capacity_bytes)),
                                  human_seconds(plan.schedule.seconds)));
    if (advice.slowdown > 0) {
        heading.push_back(
            fmt::format("To fit, it runs about {:.0f} % slower than the MFU of {:.1f} % that was "
                        "given: expected_mfu is lower by as much.",
                        advice.slowdown * 100, given.budget.mfu * 100));
    }
    if (plan.tokens.epochs > 1) {
        heading.push_back(
            fmt::format("{:.3g} epochs, with the value of repetition (arXiv 2305.16264): were all "
                        "tokens new, the loss would be {:.4f}.",
                        plan.tokens.epochs, plan.loss.total));
    }
    return heading;
}

std::vector<recipe::KeyComment> comments_of(const BackwardPlan& plan) {
    return {
        {"num_hidden_layers", "L"},
        {"hidden_size", "width of the residual stream, H"},
        {"num_attention_heads", "a"},
        {"intermediate_size", "FFN width, F"},
        {"vocab_size", "V"},
        {"available_hours", human_seconds(plan.budget.hours * 3600)},
        {"expected_mfu", "of the dense peak"},
        {"batch_size", "micro-batch per GPU, sequences"},
        {"gradient_accumulation_steps",
         fmt::format("per GPU: {} tokens a step, {} are usual (arXiv 2503.04715)",
                     human_count(plan.batch.batch_tokens), human_count(plan.batch.usual_tokens))},
        {"dataset_size", "unique tokens"},
        {"max_epochs", "how often they may be repeated"},
        {"sequence_length", "training context"}};
}

/// The text says the advice, to the last field, or is not written.
void check_written(const std::string& text, const Advice& advice) {
    const recipe::PlanKeys again =
        recipe::read_plan_keys(config::parse_jsonc(text, "the emitted plan"));
    const model::ModelConfig model = model::resolve(again.architecture);
    cost::Execution execution = recipe::recipe_of(again, model).execution;
    execution.world_size = advice.plan->run.config.execution.world_size;  // may be solved for
    if (!recipe::same_execution(execution, advice.plan->run.config.execution) ||
        model::parameter_layout(model).totals().by_component !=
            advice.plan->run.parameters.by_component) {
        throw ConfigError("--emit-plan: a plan config cannot say the advised plan");
    }
}

}  // namespace

std::string emit_advised_plan(const BackwardPlan& plan) {
    const bool is_cheapest = plan.solution.target_loss.has_value();
    const std::optional<Advice>& advice = is_cheapest ? plan.cheapest_advice : plan.advice;
    if (!advice && is_cheapest)
        throw ConfigError("--emit-plan: no model of this family that reaches the loss fits");
    if (!advice && plan.optimum.unplanned.empty())
        throw ConfigError("--emit-plan: no model of this family fits these GPUs");
    if (!advice) throw ConfigError("--emit-plan: " + limit_text(plan));
    std::string text = recipe::plan_config_text(advice->keys, heading_of(plan, *advice),
                                                comments_of(*advice->plan));
    check_written(text, *advice);
    return text;
}

}  // namespace isoflop::planner
