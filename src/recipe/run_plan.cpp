#include "isoflop/recipe/run_plan.hpp"

#include <fmt/format.h>

#include "isoflop/cost/flop_count.hpp"

namespace isoflop::recipe {

RunPlan plan_run(Recipe recipe, AttentionResolution attention) {
    RunPlan plan;
    const model::ModelConfig& model = recipe.model;
    cost::Execution& execution = recipe.execution;
    execution.attention_backend = attention.used;
    plan.attention = std::move(attention);
    plan.layout = model::parameter_layout(model);
    plan.parameters = plan.layout.totals();
    plan.state = cost::state_layout(plan.layout, execution.world_size);
    plan.memory = cost::memory_plan(model, plan.layout, execution, *recipe.optimizer);
    plan.traffic = cost::communication_per_step(plan.layout, execution);
    const auto flops = [&](cost::Convention convention) {
        return cost::training_flops_per_token(model, plan.parameters, execution, convention);
    };
    plan.model_flops_per_token = flops(recipe.keys.run.flop_convention);
    plan.exact_flops_per_token = flops(cost::Convention::exact);
    plan.executed_flops_per_token = flops(cost::Convention::executed);
    const auto groups = cost::flops_by_group(
        cost::forward_products(model, 1, execution.sequence_length, cost::AttentionMask::full));
    const auto per_layer = [&](cost::FlopGroup group) {
        return static_cast<double>(groups[static_cast<std::size_t>(group)]) /
               static_cast<double>(execution.sequence_length * model.num_hidden_layers);
    };
    plan.attention_flops_per_layer = per_layer(cost::FlopGroup::attention_projections) +
                                     per_layer(cost::FlopGroup::attention_core);
    plan.ffn_flops_per_layer = per_layer(cost::FlopGroup::ffn);
    plan.config = std::move(recipe);
    return plan;
}

}  // namespace isoflop::recipe
