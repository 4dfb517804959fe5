#include "isoflop/planner/optimum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "planner/advice_search.hpp"

namespace isoflop::planner {
namespace {

using model::ModelConfig;
using model::ModelKeys;
using recipe::PlanKeys;

config::Value value_of(config::Value::Storage storage) {
    return {std::move(storage), {}};
}

/// MPT says its key/value heads in an object.
void resize_mpt_heads(ModelKeys& keys, const ModelConfig& member) {
    keys.num_key_value_heads.reset();
    if (!keys.attn_config || !keys.attn_config->is_object()) return;
    config::Value::Object object = keys.attn_config->as_object();
    for (config::Member& entry : object) {
        if (entry.key == "kv_n_heads") entry.value = value_of(member.num_key_value_heads);
    }
    keys.attn_config = value_of(std::move(object));
}

void resize_experts(ModelKeys& keys, const ModelConfig& member) {
    const model::MixtureOfExperts& moe = *member.moe;
    if (member.naming != model::TensorNaming::mixtral)
        keys.moe_intermediate_size = moe.intermediate_size;
    if (keys.first_k_dense_replace || moe.first_dense_layers > 0)
        keys.first_k_dense_replace = moe.first_dense_layers;
    if (!keys.mlp_only_layers) return;
    config::Value::Array dense;
    for (const std::int64_t layer : moe.dense_layers) {
        if (layer < member.num_hidden_layers) dense.push_back(value_of(layer));
    }
    keys.mlp_only_layers = value_of(std::move(dense));
}

/// The list of the file, stretched as ModelConfig::resize_layers does: names of other kinds of
/// layers than windows and full attention are those of one class.
void resize_layer_types(ModelKeys& keys, const ModelConfig& member) {
    if (!keys.layer_types || !keys.layer_types->is_array()) return;
    const config::Value::Array& given = keys.layer_types->as_array();
    const auto count = static_cast<std::int64_t>(given.size());
    const bool is_listed = !member.layers.empty();
    config::Value::Array types;
    for (std::int64_t layer = 0; layer < member.num_hidden_layers; ++layer) {
        const bool window = member.is_window_layer(layer);
        const std::int64_t stretched = layer * count / member.num_hidden_layers;
        types.push_back(
            is_listed ? given[static_cast<std::size_t>(stretched)]
                      : value_of(std::string(window ? "sliding_attention" : "full_attention")));
    }
    keys.layer_types = value_of(std::move(types));
}

void compare_with(OptimumComparison& comparison, const scaling_law::Optimum& best,
                  const BackwardPlan& plan) {
    comparison.best = best;
    comparison.optimal_tokens_per_parameter = best.n_tokens / best.n_params;
    comparison.loss_gap = plan.loss_with_repetition.total - best.loss.total;
}

/// The optimum that the data allow.
const FamilyOptimum& family_optimum_of(const BackwardPlan& plan) {
    const OptimumComparison& optimum = plan.optimum;
    return optimum.within_data ? *optimum.within_data : optimum.exact.value();
}

/// The optimum as a real architecture.
Attempt plan_of_optimum(const AdviceSearch& search, const BackwardPlan& plan) {
    const FamilyOptimum& best = family_optimum_of(plan);
    if (best.on_grid) return search.planned(best.grid_config);
    const std::string reason =
        model::find_inconsistency(member_at(plan.run.config.model, best.scale));
    return {.obstacle = reason.empty() ? "its FLOPs are too many to count exactly" : reason};
}

std::string data_text(const OptimumComparison& optimum) {
    return fmt::format("{} bind, not compute: {} unique tokens would be best",
                       optimum.memory_binds ? "data and memory" : "data",
                       human_count(optimum.exact.value().continuous.n_tokens));
}

}  // namespace

double parameters_of_law(const BackwardPlan& plan) {
    return counted(plan.run.parameters, plan.law.counts);
}

OptimumComparison compare_with_optimum(const BackwardPlan& plan, Detail detail) {
    constexpr double kAllOfThem = 1 - 1e-4;  // the search for the best scale stops before
    OptimumComparison comparison;
    const scaling_law::DataSupply& data = plan.tokens.data;
    comparison.six_nd = scaling_law::compute_optimal(plan.law, plan.budget.compute_flops);
    comparison.tokens_per_parameter = plan.tokens.n_tokens / parameters_of_law(plan);
    compare_with(comparison, comparison.six_nd, plan);
    if (detail == Detail::summary) return comparison;
    const auto optimum = [&](const scaling_law::DataSupply& supply) {
        return family_optimum(plan.run.config.model, plan.run.config.execution.sequence_length,
                              plan.law, plan.budget.counted_flops, supply, plan.budget.convention);
    };
    comparison.exact = optimum({});
    compare_with(comparison, comparison.exact->continuous, plan);
    if (comparison.best.n_tokens <= data.usable(data.unique_tokens)) return comparison;
    comparison.within_data = optimum(data);
    compare_with(comparison, comparison.within_data->continuous, plan);
    comparison.data_bind = comparison.best.n_tokens >= kAllOfThem * data.allowed_tokens;
    return comparison;
}

void advise(BackwardPlan& plan, const PlanKeys& keys, const hardware::GpuTable& gpus) {
    OptimumComparison& comparison = plan.optimum;
    const AdviceSearch search(plan, keys, gpus, Goal::least_loss);
    Attempt attempt = plan_of_optimum(search, plan);
    comparison.unplanned = std::move(attempt.obstacle);
    comparison.memory_binds = !attempt.advice && comparison.unplanned.empty();
    // Rounded to a real architecture, the optimum may be behind a model that was near it already.
    std::optional<Advice> own = search.planned(plan.run.config.model).advice;
    plan.advice = search.improved(search.better(std::move(own), std::move(attempt.advice)));
    if (!plan.advice) return;
    const BackwardPlan& advised = *plan.advice->plan;
    comparison.reached =
        plan.memory.fits() &&
        plan.loss_with_repetition.total <= advised.loss_with_repetition.total + kNegligibleLoss;
    if (!comparison.memory_binds) return;
    compare_with(comparison,
                 {.n_params = parameters_of_law(advised),
                  .n_tokens = advised.tokens.n_tokens,
                  .loss = advised.loss_with_repetition},
                 plan);
}

bool exceeds_memory(const BackwardPlan& plan) {
    const FamilyOptimum& best = family_optimum_of(plan);
    return best.on_grid && !fits_frugally(plan, best.grid_config);
}

std::optional<Advice> cheapest_advice(const BackwardPlan& plan, const PlanKeys& keys,
                                      const hardware::GpuTable& gpus) {
    const AdviceSearch search(plan, keys, gpus, Goal::least_compute);
    std::optional<Advice> own = search.planned(plan.run.config.model).advice;
    std::optional<Advice> nearest;
    if (plan.cheapest)
        nearest = search.planned(member_at(plan.run.config.model, plan.cheapest->scale)).advice;
    return search.improved(search.better(std::move(own), std::move(nearest)));
}

bool fits_some_execution(const BackwardPlan& plan, double scale) {
    const ModelConfig member = member_at(plan.run.config.model, scale);
    return !model::find_inconsistency(member).empty() || fits_frugally(plan, member);
}

std::string limit_text(const BackwardPlan& plan) {
    const OptimumComparison& optimum = plan.optimum;
    if (!optimum.unplanned.empty()) {
        return fmt::format("{}no real architecture of this size could be planned: {}",
                           optimum.data_bind ? data_text(optimum) + "; " : "", optimum.unplanned);
    }
    if (!plan.advice) return "memory binds: no model of this family fits these GPUs";
    if (optimum.data_bind) return data_text(optimum);
    if (optimum.memory_binds) return "memory binds: the best model fits in no execution";
    if (!optimum.within_data) return "compute binds";
    return fmt::format("compute binds: {:.3g} epochs of the data are worth their compute",
                       optimum.within_data->continuous.n_tokens / plan.tokens.data.unique_tokens);
}

ModelKeys resized(const ModelKeys& given, const ModelConfig& member) {
    ModelKeys keys = given;
    keys.num_hidden_layers = member.num_hidden_layers;
    keys.hidden_size = member.hidden_size;
    keys.num_attention_heads = member.num_attention_heads;
    keys.num_key_value_heads = member.num_key_value_heads;
    keys.intermediate_size = member.intermediate_size;
    keys.ffn_expansion_ratio.reset();
    keys.vocab_size = member.vocab_size;
    keys.max_position_embeddings = member.max_position_embeddings;
    keys.n_ctx.reset();
    if (member.mla) {
        keys.q_lora_rank = member.mla->q_lora_rank;
        keys.kv_lora_rank = member.mla->kv_lora_rank;
    } else {
        keys.head_dim = member.head_dim;
    }
    if (member.moe) resize_experts(keys, member);
    if (member.naming == model::TensorNaming::mpt) {
        resize_mpt_heads(keys, member);
        keys.ffn_expansion_ratio =
            static_cast<double>(member.intermediate_size) / static_cast<double>(member.hidden_size);
        keys.intermediate_size.reset();
    }
    resize_layer_types(keys, member);
    return keys;
}

}  // namespace isoflop::planner
