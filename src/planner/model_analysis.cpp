#include "isoflop/planner/model_analysis.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::planner {
namespace {

std::uint64_t saved_bytes(const model::ModelConfig& config, const cost::Execution& execution) {
    std::uint64_t total = 0;
    for (const model::LayerGroup& group : config.layer_groups()) {
        for (const cost::Buffer& buffer : cost::layer_activations(config, execution, group.kind)) {
            total += buffer.bytes() * static_cast<std::uint64_t>(group.count());
        }
    }
    return total;
}

/// A mixture where the model has any, else the kind of most layers.
model::LayerKind typical_layer(const model::ModelConfig& config) {
    const std::vector<model::LayerGroup> groups = config.layer_groups();
    const auto mixture = std::find_if(groups.begin(), groups.end(), [](const auto& group) {
        return group.kind.ffn == model::FfnKind::mixture;
    });
    if (mixture != groups.end()) return mixture->kind;
    return std::max_element(groups.begin(), groups.end(),
                            [](const auto& a, const auto& b) { return a.count() < b.count(); })
        ->kind;
}

std::vector<ActivationChoice> activation_choices(const model::ModelConfig& config,
                                                 cost::Execution execution) {
    std::vector<ActivationChoice> choices;
    for (const auto backend : {cost::AttentionBackend::manual, cost::AttentionBackend::sdpa,
                               cost::AttentionBackend::flash_attn_2}) {
        execution.attention_backend = backend;
        const bool runs = recipe::resolve_attention(config, execution).used == backend;
        for (const auto recompute :
             {cost::Recompute::none, cost::Recompute::attention, cost::Recompute::block}) {
            execution.recompute = recompute;
            const std::uint64_t bytes = saved_bytes(config, execution);
            choices.push_back({backend, recompute,
                               bytes / static_cast<std::uint64_t>(config.num_hidden_layers), bytes,
                               runs});
        }
    }
    return choices;
}

SequencePoint sequence_point(const model::ModelConfig& config, cost::Execution execution,
                             std::int64_t sequence_length) {
    execution.sequence_length = sequence_length;
    execution.micro_batch_size = 1;
    execution.recompute = cost::Recompute::none;
    const auto products =
        cost::forward_products(config, 1, sequence_length, cost::AttentionMask::full);
    const auto groups = cost::flops_by_group(products);
    const auto total = static_cast<double>(cost::total_flops(products));
    SequencePoint point;
    point.sequence_length = sequence_length;
    point.forward_flops_per_token = total / static_cast<double>(sequence_length);
    point.attention_core_share =
        static_cast<double>(groups[static_cast<std::size_t>(cost::FlopGroup::attention_core)]) /
        total;
    execution.attention_backend = cost::AttentionBackend::flash_attn_2;
    point.fused_activation_bytes = saved_bytes(config, execution);
    execution.attention_backend = cost::AttentionBackend::manual;
    point.manual_activation_bytes = saved_bytes(config, execution);
    return point;
}

std::vector<SequencePoint> sequence_scaling(const model::ModelConfig& config,
                                            const cost::Execution& execution) {
    std::vector<SequencePoint> points;
    for (std::int64_t length = 1024; length <= 131072; length *= 2) {
        cost::Execution longer = execution;
        longer.sequence_length = length;
        longer.micro_batch_size = 1;
        if (!cost::flops_are_countable(config, 1, length) ||
            !cost::memory_is_countable(config, longer))
            break;
        points.push_back(sequence_point(config, execution, length));
    }
    return points;
}

}  // namespace

double ModelAnalysis::attention_core_share() const {
    return static_cast<double>(
               forward_by_group[static_cast<std::size_t>(cost::FlopGroup::attention_core)]) /
           static_cast<double>(forward_flops_per_sequence);
}

double ModelAnalysis::attention_to_ffn_ratio() const {
    const auto group = [&](cost::FlopGroup which) {
        return static_cast<double>(forward_by_group[static_cast<std::size_t>(which)]);
    };
    const double of_mixers = group(cost::FlopGroup::attention_projections) +
                             group(cost::FlopGroup::attention_core) +
                             group(cost::FlopGroup::recurrence);
    const double of_networks = group(cost::FlopGroup::ffn) + group(cost::FlopGroup::experts) +
                               group(cost::FlopGroup::router);
    return of_networks > 0 ? of_mixers / of_networks : 0;
}

ModelAnalysis analyze_model(const model::ModelConfig& config, cost::Execution execution,
                            const cost::OptimizerState& optimizer,
                            const std::optional<recipe::AttentionResolution>& attention,
                            GpuToFit gpu) {
    if (execution.sequence_length == 0) execution.sequence_length = config.max_position_embeddings;
    if (execution.sequence_length <= 0) {
        throw ConfigError(
            "the sequence length is unknown: give --sequence-length or max_position_embeddings");
    }
    if (!cost::flops_are_countable(config, execution.micro_batch_size, execution.sequence_length) ||
        !cost::memory_is_countable(config, execution)) {
        throw ConfigError(
            fmt::format("{} sequences of {} tokens are too large to count exactly (over 2^62)",
                        execution.micro_batch_size, execution.sequence_length));
    }
    ModelAnalysis analysis;
    recipe::RunPlan run =
        recipe::plan_run(recipe::recipe_of(config, execution, optimizer),
                         attention ? *attention : recipe::resolve_attention(config, execution),
                         recipe::Extent::plan);
    if (gpu.gpu != nullptr) {
        analysis.gpu_id = gpu.gpu->id;
        analysis.fit = recipe::memory_fit(run, gpu.gpu->usable_memory_bytes, gpu.keys);
    }
    analysis.attention = std::move(run.attention);
    execution = run.config.execution;
    analysis.model = config;
    analysis.parameters = run.parameters;
    analysis.execution = execution;
    const auto products =
        cost::forward_products(config, 1, execution.sequence_length, cost::AttentionMask::full);
    analysis.forward_flops_per_sequence = cost::total_flops(products);
    analysis.forward_by_group = cost::flops_by_group(products);
    analysis.convention_flops_per_token = run.convention_flops_per_token;
    analysis.training_flops_per_token = run.exact_flops_per_token;
    analysis.forward_flops_per_token = analysis.training_flops_per_token / 3.0;
    analysis.elementwise = cost::elementwise_work_per_token(config, execution.sequence_length);
    analysis.training_flops_1t_tokens = analysis.training_flops_per_token * 1e12;
    analysis.memory = std::move(run.memory);
    analysis.megatron = cost::megatron_estimate(config, analysis.parameters, execution);
    analysis.layer_buffers = cost::layer_activations(config, execution, typical_layer(config));
    analysis.activation_choices = activation_choices(config, execution);
    analysis.scaling = sequence_scaling(config, execution);
    return analysis;
}

}  // namespace isoflop::planner
