#include "isoflop/recipe/run_plan.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/cost/flop_count.hpp"

namespace isoflop::recipe {

namespace {

void count_flops(RunPlan& plan, const Recipe& recipe, Extent extent) {
    const cost::Convention chosen = recipe.keys.run.flop_convention;
    for (std::size_t i = 0; i < cost::kConventionCount; ++i) {
        const auto convention = static_cast<cost::Convention>(i);
        const bool needed = convention == cost::Convention::exact || convention == chosen;
        if (extent == Extent::sweep && !needed) continue;
        plan.convention_flops_per_token[i] = cost::training_flops_per_token(
            recipe.model, plan.parameters, recipe.execution, convention);
    }
    const auto flops = [&](cost::Convention convention) {
        return plan.convention_flops_per_token[static_cast<std::size_t>(convention)];
    };
    plan.model_flops_per_token = flops(chosen);
    plan.exact_flops_per_token = flops(cost::Convention::exact);
    plan.executed_flops_per_token = flops(cost::Convention::executed);
}

void count_flops_of_a_layer(RunPlan& plan, const Recipe& recipe) {
    const std::int64_t length = recipe.execution.sequence_length;
    const auto groups = cost::flops_by_group(
        cost::forward_products(recipe.model, 1, length, cost::AttentionMask::full));
    const auto per_layer = [&](cost::FlopGroup group) {
        return static_cast<double>(groups[static_cast<std::size_t>(group)]) /
               static_cast<double>(length * recipe.model.num_hidden_layers);
    };
    plan.attention_flops_per_layer = per_layer(cost::FlopGroup::attention_projections) +
                                     per_layer(cost::FlopGroup::attention_core);
    plan.ffn_flops_per_layer = per_layer(cost::FlopGroup::ffn);
}

void count_traffic(RunPlan& plan, const cost::Execution& execution) {
    if (!cost::traffic_is_countable(plan.layout, execution)) {
        throw ConfigError(fmt::format(
            "{} micro-batches per step send too many bytes to count exactly (over 2^63); use fewer "
            "gradient_accumulation_steps",
            execution.grad_accum_steps));
    }
    plan.traffic = cost::communication_per_step(plan.layout, execution);
}

}  // namespace

RunPlan plan_run(Recipe recipe, AttentionResolution attention, Extent extent) {
    RunPlan plan;
    recipe.execution.attention_backend = attention.used;
    plan.attention = std::move(attention);
    plan.layout = model::parameter_layout(recipe.model);
    plan.parameters = plan.layout.totals();
    plan.memory = cost::memory_plan(recipe.model, plan.layout, recipe.execution, *recipe.optimizer);
    count_flops(plan, recipe, extent);
    if (extent != Extent::sweep) {
        count_traffic(plan, recipe.execution);
        count_flops_of_a_layer(plan, recipe);
    }
    if (extent == Extent::run)
        plan.state = cost::state_layout(plan.layout, recipe.execution.world_size);
    plan.config = std::move(recipe);
    return plan;
}

}  // namespace isoflop::recipe
