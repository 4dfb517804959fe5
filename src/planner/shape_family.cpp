#include "isoflop/planner/shape_family.hpp"

#include <algorithm>
#include <cmath>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "planner/golden_section.hpp"

namespace isoflop::planner {
namespace {

using model::ModelConfig;
using scaling_law::Law;
using scaling_law::ParameterCount;

/// What models are compared under.
struct Budget {
    const Law& law;
    double compute_flops = 0;
    const scaling_law::DataSupply& data;

    /// The use of the budget by a model of `n_params` parameters.
    [[nodiscard]] scaling_law::Optimum spent_on(double n_params, double flops_per_token) const {
        const double n_tokens = data.usable(compute_flops / flops_per_token);
        return {
            .n_params = n_params,
            .n_tokens = n_tokens,
            .loss = scaling_law::loss_with_repetition(law, n_params, n_tokens, data.unique_tokens)};
    }
};

scaling_law::Optimum at_scale(const ShapeFamily& family, const Budget& budget, double scale) {
    return budget.spent_on(family.n_params(scale), family.training_flops_per_token(scale));
}

/// Searched on ln(scale): the loss has one minimum in it, for every built-in law.
double minimize_scale(const ShapeFamily& family, const Budget& budget) {
    const auto loss_at = [&](double log_scale) {
        return at_scale(family, budget, std::exp(log_scale)).loss.total;
    };
    const Interval found = golden_section(loss_at, {std::log(1e-3), std::log(1e4)}, 1e-7);
    return std::exp((found.low + found.high) / 2.0);
}

std::int64_t scaled(std::int64_t value, double scale, std::int64_t multiple) {
    const double units =
        std::round(static_cast<double>(value) * scale / static_cast<double>(multiple));
    return std::max<std::int64_t>(static_cast<std::int64_t>(units), 1) * multiple;
}

/// Largest power of two up to 64 that divides the given width: a grid that contains the
/// architecture.
std::int64_t grid_step(std::int64_t value) {
    std::int64_t step = 64;
    while (step > 1 && value % step != 0) step /= 2;
    return step;
}

struct Evaluated {
    scaling_law::Optimum optimum;
    double training_flops_per_token = 0;
};

Evaluated evaluate(const ModelConfig& member, std::int64_t sequence_length, const Budget& budget) {
    const model::ParameterTotals totals = model::parameter_layout(member).totals();
    cost::Execution execution;
    execution.sequence_length = sequence_length;
    Evaluated result;
    result.training_flops_per_token =
        cost::training_flops_per_token(member, totals, execution, cost::Convention::exact);
    result.optimum =
        budget.spent_on(counted(totals, budget.law.counts), result.training_flops_per_token);
    return result;
}

}  // namespace

double counted(const model::ParameterTotals& totals, ParameterCount counts) {
    return static_cast<double>(counts == ParameterCount::total ? totals.total
                                                               : totals.non_embedding);
}

double ShapeFamily::n_params(double scale) const {
    return ((n_cubic * scale + n_quadratic) * scale + n_linear) * scale;
}

double ShapeFamily::training_flops_per_token(double scale) const {
    return ((flops_cubic * scale + flops_quadratic) * scale + flops_linear) * scale;
}

ShapeFamily shape_family(const ModelConfig& config, std::int64_t sequence_length,
                         ParameterCount counts) {
    const model::ParameterLayout layout = model::parameter_layout(config);
    ShapeFamily family;
    for (const model::BlockLayout& block : layout.blocks) {
        for (const model::TensorSpec& tensor : block.tensors) {
            const double elements =
                static_cast<double>(tensor.total_elements()) * static_cast<double>(block.count());
            // The router's E columns do not grow with the width.
            const bool cubic = tensor.is_matrix() && tensor.component != model::Component::router;
            (cubic ? family.n_cubic : family.n_quadratic) += elements;
        }
    }
    const auto add_linear = [&](const std::vector<model::TensorSpec>& tensors) {
        for (const model::TensorSpec& tensor : tensors) {
            const bool embedding = tensor.component == model::Component::token_embedding ||
                                   tensor.component == model::Component::position_embedding ||
                                   tensor.component == model::Component::lm_head;
            if (counts == ParameterCount::non_embedding && embedding) continue;
            family.n_linear += static_cast<double>(tensor.total_elements());
        }
    };
    add_linear(layout.embedding);
    add_linear(layout.head);
    for (const auto& product :
         cost::forward_products(config, 1, sequence_length, cost::AttentionMask::full)) {
        const double training =
            3.0 * static_cast<double>(product.flops()) / static_cast<double>(sequence_length);
        switch (product.group) {
            case cost::FlopGroup::attention_core:
            case cost::FlopGroup::router: family.flops_quadratic += training; break;
            case cost::FlopGroup::lm_head: family.flops_linear += training; break;
            default: family.flops_cubic += training; break;
        }
    }
    return family;
}

ModelConfig grid_member(const ModelConfig& config, double scale, std::int64_t layers) {
    ModelConfig member = config;
    member.num_hidden_layers = layers;
    const std::int64_t group = config.num_attention_heads / config.num_key_value_heads;
    member.num_key_value_heads = scaled(config.num_key_value_heads, scale, 1);
    member.num_attention_heads = member.num_key_value_heads * group;
    const bool width_follows_heads =
        !config.mla && config.num_attention_heads * config.head_dim == config.hidden_size;
    member.hidden_size = width_follows_heads
                             ? member.num_attention_heads * config.head_dim
                             : scaled(config.hidden_size, scale, grid_step(config.hidden_size));
    // Bloom has no FFN width of its own, and MPT says it as a multiple of the hidden size.
    const bool is_multiple = (config.naming == model::TensorNaming::bloom ||
                              config.naming == model::TensorNaming::mpt) &&
                             config.intermediate_size % config.hidden_size == 0;
    member.intermediate_size =
        is_multiple ? config.intermediate_size / config.hidden_size * member.hidden_size
                    : scaled(config.intermediate_size, scale, grid_step(config.intermediate_size));
    if (member.moe) {
        member.moe->intermediate_size =
            scaled(config.moe->intermediate_size, scale, grid_step(config.moe->intermediate_size));
        member.moe->first_dense_layers = std::min(member.moe->first_dense_layers, layers);
    }
    if (member.mla) {
        member.mla->kv_lora_rank = scaled(config.mla->kv_lora_rank, scale, 64);
        if (member.mla->q_lora_rank)
            member.mla->q_lora_rank = scaled(*config.mla->q_lora_rank, scale, 64);
    }
    return member;
}

FamilyOptimum family_optimum(const ModelConfig& config, std::int64_t sequence_length,
                             const Law& law, double compute_flops,
                             const scaling_law::DataSupply& data) {
    const ShapeFamily family = shape_family(config, sequence_length, law.counts);
    const Budget budget{law, compute_flops, data};
    FamilyOptimum result;
    result.scale = minimize_scale(family, budget);
    result.continuous = at_scale(family, budget, result.scale);
    const double layers = static_cast<double>(config.num_hidden_layers) * result.scale;
    for (const double rounded : {std::floor(layers), std::ceil(layers)}) {
        const auto whole = std::max<std::int64_t>(static_cast<std::int64_t>(rounded), 1);
        const ModelConfig member = grid_member(config, result.scale, whole);
        if (!model::find_inconsistency(member).empty() ||
            !cost::flops_are_countable(member, 1, sequence_length)) {
            continue;
        }
        const Evaluated candidate = evaluate(member, sequence_length, budget);
        if (!result.on_grid || candidate.optimum.loss.total < result.grid.loss.total) {
            result.grid_config = member;
            result.grid = candidate.optimum;
            result.grid_training_flops_per_token = candidate.training_flops_per_token;
            result.on_grid = true;
        }
    }
    return result;
}

}  // namespace isoflop::planner
