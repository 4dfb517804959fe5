#include "isoflop/planner/optimum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"

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

void resize_layer_types(ModelKeys& keys, const ModelConfig& member) {
    if (!keys.layer_types) return;
    config::Value::Array types;
    for (std::int64_t layer = 0; layer < member.num_hidden_layers; ++layer) {
        const bool window = member.is_window_layer(layer);
        types.push_back(value_of(std::string(window ? "sliding_attention" : "full_attention")));
    }
    keys.layer_types = value_of(std::move(types));
}

void set_execution(recipe::TrainingEfficiency& keys, const cost::Execution& execution) {
    keys.batch_size = execution.micro_batch_size;
    keys.gradient_accumulation_steps = execution.grad_accum_steps;
    keys.use_flash_attention.reset();
    keys.attention_backend = execution.attention_backend;
    keys.recompute = execution.recompute;
    keys.parallelism = execution.parallelism;
}

double loss_of(const Advice& advice) {
    return advice.plan->loss_with_repetition.total;
}

/// The real architecture of the family of a plan.
ModelConfig member_at(const BackwardPlan& plan, double log_scale) {
    const ModelConfig& given = plan.run.config.model;
    const double scale = std::exp(log_scale);
    const double layers = std::round(static_cast<double>(given.num_hidden_layers) * scale);
    return grid_member(given, scale, std::max<std::int64_t>(std::llround(layers), 1));
}

/// The execution that needs the least memory is within that of a GPU.
bool fits_frugally(const BackwardPlan& plan, const ModelConfig& member) {
    const cost::Execution frugal = recipe::frugal_execution(member, plan.run.config.execution);
    return cost::memory_is_countable(member, frugal) &&
           cost::memory_plan(member, model::parameter_layout(member), frugal,
                             *plan.run.config.optimizer)
                   .total_bytes() <= plan.memory.capacity_bytes;
}

bool may_fit(const BackwardPlan& plan, const ModelConfig& member) {
    return model::find_inconsistency(member).empty() &&
           cost::flops_are_countable(member, 1, plan.run.config.execution.sequence_length) &&
           fits_frugally(plan, member);
}

/// A plan of a member of the family, or why there is none.
struct Attempt {
    std::optional<Advice> advice = {};
    std::string obstacle = {};  ///< empty where the memory is
};

/// Plans models of the family of one plan, on its GPUs.
class Search {
public:
    Search(const BackwardPlan& plan, PlanKeys keys, const hardware::GpuTable& gpus)
        : plan_(plan), keys_(std::move(keys)), gpus_(gpus) {
        keys_.notes.clear();
        keys_.source.reset();
        // The budget of the plan, whichever of its keys it was solved from.
        keys_.training_gear.num_gpus = plan.solution.num_gpus;
        keys_.training_gear.available_hours = plan.budget.hours;
        keys_.dataset_constraints.training_tokens = {};
        keys_.scaling_law.target_loss = {};
        keys_.dataset_constraints.sequence_length = plan.run.config.execution.sequence_length;
    }

    /// With the usual batch, executed in the cheapest way that fits.
    [[nodiscard]] Attempt planned(const ModelConfig& member) const {
        try {
            return {.advice = try_plan(member)};
        } catch (const ConfigError& error) {
            // Sizes that cannot be counted, or that the model type refuses.
            return {.obstacle = error.what()};
        }
    }

    /// The optimum as a real architecture.
    [[nodiscard]] Attempt planned(const FamilyOptimum& best) const {
        if (best.on_grid) return planned(best.grid_config);
        const std::string reason =
            model::find_inconsistency(member_at(plan_, std::log(best.scale)));
        return {.obstacle = reason.empty() ? "its FLOPs are too many to count exactly" : reason};
    }

    /// The largest member below `scale` that fits.
    [[nodiscard]] std::optional<Advice> largest_that_fits(double scale) const {
        constexpr double kSmallestScale = 1e-3;
        constexpr double kPrecision = 1e-3;  // of ln scale: 0.3 % of the parameters
        double low = std::log(kSmallestScale);
        double high = std::log(std::max(scale, kSmallestScale));
        if (!may_fit(plan_, member_at(plan_, low))) return std::nullopt;
        while (high - low > kPrecision) {
            const double middle = (low + high) / 2;
            (may_fit(plan_, member_at(plan_, middle)) ? low : high) = middle;
        }
        // Less memory than the most frugal execution needs, none does: a few steps are enough.
        constexpr int kSteps = 16;
        for (int step = 0; step < kSteps; ++step, low -= 1.0 / kSteps) {
            if (Attempt attempt = planned(member_at(plan_, low)); attempt.advice)
                return attempt.advice;
        }
        return std::nullopt;
    }

private:
    [[nodiscard]] Advice replanned(PlanKeys keys) const {
        auto plan =
            std::make_shared<const BackwardPlan>(backward_plan(keys, gpus_, Detail::summary));
        return {.keys = std::move(keys), .plan = std::move(plan)};
    }

    [[nodiscard]] std::optional<Advice> try_plan(const ModelConfig& member) const {
        PlanKeys keys = keys_;
        keys.architecture = resized(keys.architecture, member);
        Advice advice = replanned(std::move(keys));
        cost::Execution execution = advice.plan->run.config.execution;
        execution.micro_batch_size = advice.plan->batch.micro_batch_size;
        execution.grad_accum_steps = advice.plan->batch.grad_accum_steps;
        set_execution(advice.keys.training_efficiency, execution);
        advice = replanned(std::move(advice.keys));
        if (advice.plan->memory.fits()) return advice;
        const auto change =
            recipe::fitting_change(advice.plan->run, advice.plan->memory.capacity_bytes);
        if (!change) return std::nullopt;
        set_execution(advice.keys.training_efficiency, change->execution);
        advice = replanned(std::move(advice.keys));
        if (!advice.plan->memory.fits()) return std::nullopt;
        return advice;
    }

    const BackwardPlan& plan_;
    PlanKeys keys_;
    const hardware::GpuTable& gpus_;
};

void compare_with(OptimumComparison& comparison, const scaling_law::Optimum& best,
                  const BackwardPlan& plan) {
    comparison.best = best;
    comparison.optimal_tokens_per_parameter = best.n_tokens / best.n_params;
    comparison.loss_gap = plan.loss_with_repetition.total - best.loss.total;
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
    const double compute = plan.budget.compute_flops;
    const scaling_law::DataSupply& data = plan.tokens.data;
    comparison.six_nd = scaling_law::compute_optimal(plan.law, compute);
    comparison.tokens_per_parameter = plan.tokens.n_tokens / parameters_of_law(plan);
    compare_with(comparison, comparison.six_nd, plan);
    if (detail == Detail::summary) return comparison;
    const auto optimum = [&](const scaling_law::DataSupply& supply) {
        return family_optimum(plan.run.config.model, plan.run.config.execution.sequence_length,
                              plan.law, compute, supply);
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
    const FamilyOptimum& best =
        comparison.within_data ? *comparison.within_data : comparison.exact.value();
    const Search search(plan, keys, gpus);
    Attempt attempt = search.planned(best);
    comparison.unplanned = std::move(attempt.obstacle);
    comparison.memory_binds = !attempt.advice && comparison.unplanned.empty();
    plan.advice = std::move(attempt.advice);
    if (!plan.advice) plan.advice = search.largest_that_fits(best.scale);
    // Rounded to a real architecture, the optimum may be behind a model that was near it already.
    if (std::optional<Advice> own = search.planned(plan.run.config.model).advice;
        own && (!plan.advice || loss_of(*own) <= loss_of(*plan.advice))) {
        plan.advice = std::move(own);
    }
    if (!comparison.memory_binds || !plan.advice) return;
    compare_with(comparison,
                 {.n_params = parameters_of_law(*plan.advice->plan),
                  .n_tokens = plan.advice->plan->tokens.n_tokens,
                  .loss = plan.advice->plan->loss_with_repetition},
                 plan);
}

bool fits_some_execution(const BackwardPlan& plan, double scale) {
    const ModelConfig member = member_at(plan, std::log(scale));
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
