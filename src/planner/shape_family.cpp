#include "isoflop/planner/shape_family.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "planner/golden_section.hpp"

namespace isoflop::planner {
namespace {

using cost::Convention;
using model::Component;
using model::ModelConfig;
using scaling_law::Law;
using scaling_law::ParameterCount;

/// What models are compared under.
struct Budget {
    const Law& law;
    double flops = 0;  ///< counted by `convention`
    Convention convention = Convention::exact;
    const scaling_law::DataSupply& data;

    /// The use of the budget by a model of `n_params` parameters.
    [[nodiscard]] scaling_law::Optimum spent_on(double n_params, double flops_per_token) const {
        const double n_tokens = data.usable(flops / flops_per_token);
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
    double exact_flops_per_token = 0;
};

Evaluated evaluate(const ModelConfig& member, std::int64_t sequence_length, const Budget& budget) {
    const model::ParameterTotals totals = model::parameter_layout(member).totals();
    cost::Execution execution;
    execution.sequence_length = sequence_length;
    const auto per_token = [&](Convention convention) {
        return cost::training_flops_per_token(member, totals, execution, convention);
    };
    Evaluated result;
    result.exact_flops_per_token = per_token(Convention::exact);
    result.optimum =
        budget.spent_on(counted(totals, budget.law.counts), budget.convention == Convention::exact
                                                                ? result.exact_flops_per_token
                                                                : per_token(budget.convention));
    return result;
}

/// What grows with the third, second and first power of the scale.
struct Growth {
    double cubic = 0, quadratic = 0, linear = 0;
};

bool is_embedding(const model::TensorSpec& tensor) {
    return tensor.component == Component::token_embedding ||
           tensor.component == Component::position_embedding ||
           tensor.component == Component::lm_head;
}

/// Elements of all blocks, and of those tensors outside that `counts` selects.
template <class Selection>
Growth elements(const model::ParameterLayout& layout, bool active, const Selection& counts) {
    Growth growth;
    const auto elements_of = [&](const model::TensorSpec& tensor) {
        const bool routed = active && tensor.component == Component::routed_experts;
        return static_cast<double>(routed ? tensor.elements() * layout.num_experts_per_token
                                          : tensor.total_elements());
    };
    for (const model::BlockLayout& block : layout.blocks) {
        for (const model::TensorSpec& tensor : block.tensors) {
            // The router's E columns do not grow with the width.
            const bool cubic = tensor.is_matrix() && tensor.component != Component::router;
            (cubic ? growth.cubic : growth.quadratic) +=
                elements_of(tensor) * static_cast<double>(block.count());
        }
    }
    for (const auto* tensors : {&layout.embedding, &layout.head}) {
        for (const model::TensorSpec& tensor : *tensors) {
            if (counts(tensor)) growth.linear += elements_of(tensor);
        }
    }
    return growth;
}

/// Training FLOPs per token of the matrix products.
Growth product_flops(const ModelConfig& config, std::int64_t sequence_length,
                     Convention convention) {
    const bool megatron = convention == Convention::megatron;
    Growth growth;
    for (const auto& product :
         cost::forward_products(config, 1, sequence_length, cost::AttentionMask::full)) {
        const double training =
            3.0 * static_cast<double>(product.flops()) / static_cast<double>(sequence_length);
        switch (product.group) {
            case cost::FlopGroup::attention_core:
            case cost::FlopGroup::router: growth.quadratic += megatron ? 0 : training; break;
            case cost::FlopGroup::lm_head: growth.linear += training; break;
            default: growth.cubic += training; break;
        }
    }
    return growth;
}

/// 6 FLOPs for each active parameter that the convention counts.
Growth parameter_flops(const ModelConfig& config, const model::ParameterLayout& layout,
                       Convention convention) {
    const Growth counted = elements(layout, true, [&](const model::TensorSpec& tensor) {
        if (convention == Convention::kaplan) return !is_embedding(tensor);
        if (convention != Convention::titan) return true;
        const bool looked_up =
            tensor.component == Component::token_embedding && !config.tie_word_embeddings;
        return tensor.component != Component::position_embedding && !looked_up;
    });
    return {6 * counted.cubic, 6 * counted.quadratic, 6 * counted.linear};
}

/// Part of the scores and values over all S x S pairs that a convention counts by a formula of its
/// own.
double attention_share(Convention convention) {
    switch (convention) {
        case Convention::palm:
        case Convention::titan: return 1;
        case Convention::megatron:
        case Convention::kaplan: return 0.5;
        case Convention::six_nd:
        case Convention::exact:
        case Convention::executed: return 0;
    }
    return 0;
}

/// 12 L a d S: what PaLM's formula counts beyond 6 N.
double full_attention_flops(const ModelConfig& config, const model::ParameterLayout& layout,
                            std::int64_t sequence_length) {
    cost::Execution execution;
    execution.sequence_length = sequence_length;
    const model::ParameterTotals totals = layout.totals();
    return cost::training_flops_per_token(config, totals, execution, Convention::palm) -
           cost::training_flops_per_token(config, totals, execution, Convention::six_nd);
}

bool counts_products(Convention convention) {
    return convention == Convention::exact || convention == Convention::executed ||
           convention == Convention::megatron;
}

/// What the members of a family differ in.
struct Shape {
    std::int64_t layers = 1;
    std::int64_t kv_heads = 1;
    std::int64_t heads_per_kv = 1;
    std::int64_t hidden = 1;  ///< where the width does not follow the heads
    std::int64_t ffn = 1;     ///< where it is no multiple of the width
    std::int64_t expert = 1;
    std::int64_t kv_rank = 0;
    std::optional<std::int64_t> q_rank = {};
};

bool width_follows_heads(const ModelConfig& config) {
    return !config.mla && config.num_attention_heads * config.head_dim == config.hidden_size;
}

/// Bloom has no FFN width of its own, and MPT says it as a multiple of the hidden size.
bool ffn_follows_width(const ModelConfig& config) {
    return (config.naming == model::TensorNaming::bloom ||
            config.naming == model::TensorNaming::mpt) &&
           config.intermediate_size % config.hidden_size == 0;
}

/// Mixtral has one key for the width of the experts and of no other FFN.
bool experts_follow_ffn(const ModelConfig& config) {
    return config.moe && config.naming == model::TensorNaming::mixtral &&
           config.moe->intermediate_size == config.intermediate_size;
}

Shape shape_of(const ModelConfig& config) {
    Shape shape{.layers = config.num_hidden_layers,
                .kv_heads = config.num_key_value_heads,
                .heads_per_kv = config.num_attention_heads / config.num_key_value_heads,
                .hidden = config.hidden_size,
                .ffn = config.intermediate_size};
    if (config.moe) shape.expert = config.moe->intermediate_size;
    if (config.mla) {
        shape.kv_rank = config.mla->kv_lora_rank;
        shape.q_rank = config.mla->q_lora_rank;
    }
    return shape;
}

/// The nearest shape.
Shape shape_at(const ModelConfig& config, double scale) {
    Shape shape = shape_of(config);
    shape.layers = scaled(shape.layers, scale, 1);
    shape.kv_heads = scaled(shape.kv_heads, scale, 1);
    shape.hidden = scaled(shape.hidden, scale, grid_step(shape.hidden));
    shape.ffn = scaled(shape.ffn, scale, grid_step(shape.ffn));
    shape.expert = scaled(shape.expert, scale, grid_step(shape.expert));
    if (config.mla) shape.kv_rank = scaled(shape.kv_rank, scale, 64);
    if (shape.q_rank) shape.q_rank = scaled(*shape.q_rank, scale, 64);
    return shape;
}

ModelConfig member_of(const ModelConfig& config, const Shape& shape) {
    ModelConfig member = config;
    member.resize_layers(shape.layers);
    member.num_key_value_heads = shape.kv_heads;
    member.num_attention_heads = shape.kv_heads * shape.heads_per_kv;
    member.hidden_size =
        width_follows_heads(config) ? member.num_attention_heads * config.head_dim : shape.hidden;
    member.intermediate_size =
        ffn_follows_width(config)
            ? config.intermediate_size / config.hidden_size * member.hidden_size
            : shape.ffn;
    if (member.moe) {
        member.moe->intermediate_size =
            experts_follow_ffn(config) ? member.intermediate_size : shape.expert;
        member.moe->first_dense_layers = std::min(member.moe->first_dense_layers, shape.layers);
    }
    if (member.mla) {
        member.mla->kv_lora_rank = shape.kv_rank;
        member.mla->q_lora_rank = shape.q_rank;
    }
    return member;
}

/// `value` rounded down and up to a multiple, at least one of it.
std::vector<std::int64_t> both_roundings(double value, std::int64_t multiple) {
    const double units = value / static_cast<double>(multiple);
    std::vector<std::int64_t> list;
    for (const double rounded : {std::floor(units), std::ceil(units)}) {
        const auto whole = std::max<std::int64_t>(static_cast<std::int64_t>(rounded), 1) * multiple;
        if (list.empty() || list.back() != whole) list.push_back(whole);
    }
    return list;
}

/// Key/value heads, and heads for each of them. Where there is one key/value head for each head, or
/// one for all of them, that stays.
std::vector<Shape> head_roundings(const ModelConfig& config, const Shape& shape, double scale) {
    const bool shared = config.num_key_value_heads < config.num_attention_heads;
    const double heads = static_cast<double>(config.num_attention_heads) * scale;
    std::vector<std::int64_t> key_value =
        both_roundings(static_cast<double>(config.num_key_value_heads) * scale, 1);
    if (shared && config.num_key_value_heads == 1) key_value = {1};
    std::vector<Shape> list;
    for (const std::int64_t kv_heads : key_value) {
        const std::vector<std::int64_t> groups =
            shared ? both_roundings(heads / static_cast<double>(kv_heads), 1)
                   : std::vector<std::int64_t>{1};
        for (const std::int64_t group : groups) {
            Shape rounded = shape;
            rounded.kv_heads = kv_heads;
            rounded.heads_per_kv = group;
            list.push_back(rounded);
        }
    }
    return list;
}

bool can_be_evaluated(const ModelConfig& member, std::int64_t sequence_length) {
    return model::find_inconsistency(member).empty() &&
           cost::flops_are_countable(member, 1, sequence_length);
}

/// Takes `member` where it is better by more than `margin`.
void consider(FamilyOptimum& result, const ModelConfig& member, std::int64_t sequence_length,
              const Budget& budget, double margin) {
    if (!can_be_evaluated(member, sequence_length)) return;
    const Evaluated candidate = evaluate(member, sequence_length, budget);
    if (result.on_grid && !(candidate.optimum.loss.total < result.grid.loss.total - margin)) {
        return;
    }
    result.grid_config = member;
    result.grid = candidate.optimum;
    result.grid_training_flops_per_token = candidate.exact_flops_per_token;
    result.on_grid = true;
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
                         ParameterCount counts, Convention convention) {
    const model::ParameterLayout layout = model::parameter_layout(config);
    const Growth n_params = elements(layout, false, [&](const model::TensorSpec& tensor) {
        return counts == ParameterCount::total || !is_embedding(tensor);
    });
    Growth flops = counts_products(convention) ? product_flops(config, sequence_length, convention)
                                               : parameter_flops(config, layout, convention);
    if (const double share = attention_share(convention); share > 0)
        flops.quadratic += share * full_attention_flops(config, layout, sequence_length);
    return {.n_cubic = n_params.cubic,
            .n_quadratic = n_params.quadratic,
            .n_linear = n_params.linear,
            .flops_cubic = flops.cubic,
            .flops_quadratic = flops.quadratic,
            .flops_linear = flops.linear};
}

ModelConfig grid_member(const ModelConfig& config, double scale, std::int64_t layers) {
    Shape shape = shape_at(config, scale);
    shape.layers = layers;
    return member_of(config, shape);
}

std::vector<ModelConfig> roundings(const ModelConfig& config, double scale) {
    const Shape nearest = shape_at(config, scale);
    const auto both = [&](std::int64_t value, std::int64_t step) {
        return both_roundings(static_cast<double>(value) * scale, step);
    };
    const std::vector<std::int64_t> widths =
        width_follows_heads(config) ? std::vector<std::int64_t>{config.hidden_size}
                                    : both(config.hidden_size, grid_step(config.hidden_size));
    const std::vector<std::int64_t> ffn_widths =
        ffn_follows_width(config)
            ? std::vector<std::int64_t>{config.intermediate_size}
            : both(config.intermediate_size, grid_step(config.intermediate_size));
    std::vector<ModelConfig> members;
    for (Shape shape : head_roundings(config, nearest, scale)) {
        for (const std::int64_t layers : both(config.num_hidden_layers, 1)) {
            for (const std::int64_t hidden : widths) {
                for (const std::int64_t ffn : ffn_widths) {
                    shape.layers = layers;
                    shape.hidden = hidden;
                    shape.ffn = ffn;
                    members.push_back(member_of(config, shape));
                }
            }
        }
    }
    return members;
}

std::vector<ModelConfig> neighbours(const ModelConfig& config) {
    const Shape own = shape_of(config);
    std::vector<ModelConfig> members;
    const auto move = [&](std::int64_t Shape::*size, std::int64_t step) {
        for (const std::int64_t difference : {-step, step}) {
            Shape shape = own;
            shape.*size += difference;
            if (shape.*size >= step) members.push_back(member_of(config, shape));
        }
    };
    const bool shared = config.num_key_value_heads < config.num_attention_heads;
    move(&Shape::layers, 1);
    if (!shared || config.num_key_value_heads > 1) move(&Shape::kv_heads, 1);
    if (shared) move(&Shape::heads_per_kv, 1);
    if (!width_follows_heads(config)) move(&Shape::hidden, grid_step(own.hidden));
    const bool has_ffn =
        experts_follow_ffn(config) || config.num_moe_layers() < config.num_hidden_layers;
    if (has_ffn && !ffn_follows_width(config)) move(&Shape::ffn, grid_step(own.ffn));
    if (config.moe && !experts_follow_ffn(config)) move(&Shape::expert, grid_step(own.expert));
    return members;
}

FamilyOptimum family_optimum(const ModelConfig& config, std::int64_t sequence_length,
                             const Law& law, double flops, const scaling_law::DataSupply& data,
                             Convention convention) {
    const ShapeFamily family = shape_family(config, sequence_length, law.counts, convention);
    const Budget budget{law, flops, convention, data};
    FamilyOptimum result;
    result.scale = minimize_scale(family, budget);
    result.continuous = at_scale(family, budget, result.scale);
    const double layers = static_cast<double>(config.num_hidden_layers) * result.scale;
    for (const std::int64_t whole : both_roundings(layers, 1))
        consider(result, grid_member(config, result.scale, whole), sequence_length, budget, 0);
    // Of few layers and heads, the nearest numbers may be far off together.
    if (!result.on_grid ||
        result.grid.loss.total > result.continuous.loss.total + kNegligibleLoss) {
        for (const ModelConfig& member : roundings(config, result.scale))
            consider(result, member, sequence_length, budget, kNegligibleLoss);
    }
    return result;
}

}  // namespace isoflop::planner
