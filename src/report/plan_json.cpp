// A backward plan for machines. Field names are stable: add, never rename (docs/json_output.md).
#include <nlohmann/json.hpp>

#include "isoflop/report/plan_report.hpp"
#include "report/common_json.hpp"
#include "report/cost_report.hpp"
#include "report/solved_report.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;

namespace {

ordered_json memory_json(const planner::BackwardPlan& plan) {
    ordered_json json = to_json(plan.run.memory);
    json["capacity_bytes"] = plan.memory.capacity_bytes;
    json["headroom_bytes"] = plan.memory.headroom_bytes();
    json["fits"] = plan.memory.fits();
    json["change"] = nullptr;
    if (plan.memory.change) {
        json["change"] = {{"description", plan.memory.change->description},
                          {"total_bytes", plan.memory.change->total_bytes},
                          {"slowdown_estimate", plan.memory.change->slowdown},
                          {"execution", to_json(plan.memory.change->execution)}};
    }
    json["gpus_needed"] = number_or_null(plan.memory.gpus_needed);
    const auto megatron = cost::megatron_estimate(plan.run.config.model, plan.run.parameters,
                                                  plan.run.config.execution);
    json["megatron_estimate"] = {{"model_state_bytes", megatron.model_state_bytes},
                                 {"activation_bytes", megatron.activation_bytes},
                                 {"logits_bytes", megatron.logits_bytes},
                                 {"total_bytes", megatron.total_bytes()}};
    return json;
}

}  // namespace

ordered_json advice_json(const std::optional<planner::Advice>& advice) {
    if (!advice) return nullptr;
    const planner::BackwardPlan& advised = *advice->plan;
    return {{"n_params", advised.run.parameters.total},
            {"n_tokens", advised.tokens.n_tokens},
            {"epochs", advised.tokens.epochs},
            {"predicted_loss", advised.loss_with_repetition.total},
            {"loss_with_repetition", advised.loss_with_repetition.total},
            {"training_flops_per_token", advised.run.exact_flops_per_token},
            {"tokens_per_step", advised.schedule.tokens_per_step},
            {"usual_batch_tokens", advised.batch.usual_tokens},
            {"steps", advised.schedule.steps},
            {"seconds", advised.schedule.seconds},
            {"memory_bytes", advised.memory.planned_bytes},
            {"capacity_bytes", advised.memory.capacity_bytes},
            {"expected_mfu", advised.budget.mfu},
            {"slowdown_estimate", advice->slowdown},
            {"execution", to_json(advised.run.config.execution)},
            {"model", to_json(advised.run.config.model)}};
}

namespace {

ordered_json optimum_json(const planner::BackwardPlan& plan) {
    const planner::OptimumComparison& optimum = plan.optimum;
    ordered_json json = to_json(optimum.six_nd);
    json["convention"] = "C = 6 N D";
    json["tokens_per_parameter"] = optimum.tokens_per_parameter;
    json["optimal_tokens_per_parameter"] = optimum.optimal_tokens_per_parameter;
    json["loss_gap"] = optimum.loss_gap;
    json["exact"] = nullptr;
    if (optimum.exact) {
        json["exact"] = to_json(optimum.exact->continuous);
        json["exact"]["scale"] = optimum.exact->scale;
    }
    json["architecture"] = nullptr;
    if (optimum.exact && optimum.exact->on_grid) {
        json["architecture"] = to_json(optimum.exact->grid);
        json["architecture"]["training_flops_per_token"] =
            optimum.exact->grid_training_flops_per_token;
        json["architecture"]["model"] = to_json(optimum.exact->grid_config);
    }
    json["data_bind"] = optimum.data_bind;
    json["memory_binds"] = optimum.memory_binds;
    json["reached"] = optimum.reached;
    json["unplanned"] = nullptr;
    if (!optimum.unplanned.empty()) json["unplanned"] = optimum.unplanned;
    json["within_data"] = nullptr;
    if (optimum.within_data) {
        json["within_data"] = to_json(optimum.within_data->continuous);
        json["within_data"]["scale"] = optimum.within_data->scale;
    }
    json["best"] = to_json(optimum.best);
    json["advised"] = advice_json(plan.advice);
    return json;
}

ordered_json verification_json(const planner::Verification& check) {
    return {{"recomputed_compute_flops", check.recomputed_compute_flops},
            {"relative_error", check.relative_error},
            {"six_nd_flops_per_token", check.six_nd_flops},
            {"exact_flops_per_token", check.exact_flops},
            {"difference",
             {{"total", check.difference()},
              {"input_embedding", check.input_embedding},
              {"norms_and_biases", check.vectors},
              {"attention", check.attention}}}};
}

ordered_json hardware_json(const planner::BackwardPlan& plan) {
    const planner::ComputeBudget& budget = plan.budget;
    return {{"gpu", budget.gpu_id},
            {"num_gpus", plan.run.config.execution.world_size},
            {"available_hours", budget.hours},
            {"dtype", to_string(budget.dtype)},
            {"expected_mfu", budget.mfu},
            {"flop_convention", to_string(budget.convention)},
            {"counted_flops", budget.counted_flops},
            {"peak_source", budget.peak_from_table ? budget.gpu_source : "config"}};
}

ordered_json communication_json(const planner::BackwardPlan& plan) {
    ordered_json collectives = ordered_json::array();
    for (const auto& collective : plan.run.traffic) {
        collectives.push_back({{"name", collective.name}, {"bytes_sent", collective.bytes_sent}});
    }
    return {{"collectives", collectives},
            {"total_bytes_sent", cost::total_bytes_sent(plan.run.traffic)}};
}

ordered_json schedule_json(const planner::Schedule& schedule) {
    return {{"tokens_per_step", schedule.tokens_per_step},
            {"sequences_per_step", schedule.sequences_per_step},
            {"steps", schedule.steps},
            {"seconds", schedule.seconds},
            {"seconds_per_step", schedule.seconds_per_step},
            {"tokens_per_second", schedule.tokens_per_second},
            {"tokens_per_second_per_gpu", schedule.tokens_per_second_per_gpu}};
}

ordered_json batch_json(const planner::BatchAdvice& batch) {
    return {{"tokens", batch.batch_tokens},
            {"usual_tokens", batch.usual_tokens},
            {"unusual", batch.is_unusual()},
            {"advised_tokens", batch.advised_tokens},
            {"advised_batch_size", batch.micro_batch_size},
            {"advised_gradient_accumulation_steps", batch.grad_accum_steps}};
}

}  // namespace

ordered_json plan_json(const planner::BackwardPlan& plan) {
    const auto& budget = plan.budget;
    const auto& tokens = plan.tokens;
    ordered_json json;
    json["kind"] = "backward";
    json["n_params"] = plan.run.parameters.total;
    json["n_tokens"] = tokens.n_tokens;
    json["compute_flops"] = budget.compute_flops;
    json["predicted_loss"] = plan.loss_with_repetition.total;
    json["training_flops_per_token"] = plan.run.exact_flops_per_token;
    json["forward_flops_per_token"] = plan.forward_flops_per_token;
    json["peak_flops_per_gpu"] = budget.peak_flops_per_gpu;
    json["epochs"] = tokens.epochs;
    json["constrained"] = tokens.constrained;
    json["compute_limited_tokens"] = tokens.compute_limited;
    json["data_limited_tokens"] =
        tokens.data_limited ? ordered_json(*tokens.data_limited) : nullptr;
    json["unused_compute_flops"] = tokens.unused_compute_flops;
    json["hardware"] = hardware_json(plan);
    json["model"] = to_json(plan.run.config.model);
    json["parameters"] = to_json(plan.run.parameters);
    json["flops_per_token_by_convention"] = conventions_json(plan.run.convention_flops_per_token);
    json["law"] = {{"id", plan.law.id}, {"title", plan.law.title}, {"source", plan.law.source}};
    json["loss"] = to_json(plan.loss);
    json["loss_with_repetition"] = to_json(plan.loss_with_repetition);
    json["effective_tokens"] = tokens.effective;
    json["verification"] = verification_json(plan.verification);
    json["execution"] = to_json(plan.run.config.execution);
    json["attention"] = to_json(plan.run.attention);
    json["memory"] = memory_json(plan);
    json["communication_per_step"] = communication_json(plan);
    json["schedule"] = schedule_json(plan.schedule);
    json["batch"] = batch_json(plan.batch);
    json["optimum"] = optimum_json(plan);
    json["solved"] = solved_json(plan);
    add_cost(json, plan.cost);
    json["warnings"] = plan.warnings;
    return json;
}

ordered_json comparison_json(std::span<const NamedPlan> plans) {
    ordered_json list = ordered_json::array();
    for (const NamedPlan& named : plans) {
        ordered_json entry = plan_json(named.plan);
        entry["name"] = named.name;
        list.push_back(std::move(entry));
    }
    return {{"kind", "compare"}, {"plans", list}};
}

}  // namespace isoflop::report
