// Derived sizes of a ModelConfig, and the check of its consistency.
#include "isoflop/model/model_config.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace isoflop::model {
namespace {

struct SizeRule {
    const char* key;
    std::int64_t value;
    std::int64_t minimum;
    std::int64_t maximum;
};

std::string check(const SizeRule& rule) {
    if (rule.value >= rule.minimum && rule.value <= rule.maximum) return {};
    return fmt::format("{} must be an integer from {} to {}; found {}", rule.key, rule.minimum,
                       rule.maximum, rule.value);
}

std::string check_dense_sizes(const ModelConfig& config) {
    const SizeRule rules[] = {
        {"num_hidden_layers", config.num_hidden_layers, 1, limits::kLayers},
        {"hidden_size", config.hidden_size, 1, limits::kWidth},
        {"num_attention_heads", config.num_attention_heads, 1, limits::kHeads},
        {"num_key_value_heads", config.num_key_value_heads, 1, limits::kHeads},
        {"head_dim", config.head_dim, 1, limits::kHeadDim},
        {"intermediate_size", config.intermediate_size, 1, limits::kWidth},
        {"vocab_size", config.vocab_size, 1, limits::kVocabulary},
        {"max_position_embeddings", config.max_position_embeddings, 1, limits::kPositions},
        {"sliding_window", config.sliding_window.value_or(1), 1, limits::kPositions},
        {"sliding_window_period", config.sliding_window_period, 1, limits::kLayers},
    };
    for (const SizeRule& rule : rules) {
        if (std::string message = check(rule); !message.empty()) return message;
    }
    if (config.num_attention_heads * config.head_dim > limits::kHeadWidth) {
        return fmt::format("num_attention_heads x head_dim must be at most {}; found {} x {}",
                           limits::kHeadWidth, config.num_attention_heads, config.head_dim);
    }
    return {};
}

std::string check_experts(const ModelConfig& config) {
    if (!config.moe) return {};
    const MixtureOfExperts& moe = *config.moe;
    const SizeRule rules[] = {
        {"num_experts", moe.num_experts, 1, limits::kExperts},
        {"num_experts_per_tok", moe.num_experts_per_token, 1, moe.num_experts},
        {"moe_intermediate_size", moe.intermediate_size, 1, limits::kWidth},
        {"n_shared_experts", moe.num_shared_experts, 0, limits::kExperts},
        {"shared_expert_intermediate_size", moe.shared_intermediate_size, 0, limits::kWidth},
        {"first_k_dense_replace", moe.first_dense_layers, 0, limits::kLayers},
        {"moe_layer_freq", moe.layer_frequency, 1, limits::kLayers},
        {"moe_latent_size", moe.latent_size, 0, limits::kWidth},
    };
    for (const SizeRule& rule : rules) {
        if (std::string message = check(rule); !message.empty()) return message;
    }
    if (moe.intermediate_size * std::max<std::int64_t>(moe.num_shared_experts, 1) >
        limits::kWidth) {
        return fmt::format(
            "moe_intermediate_size x n_shared_experts must be at most {}; found {} x {}",
            limits::kWidth, moe.intermediate_size, moe.num_shared_experts);
    }
    return {};
}

std::string check_latent_attention(const ModelConfig& config) {
    if (!config.mla) return {};
    const LatentAttention& mla = *config.mla;
    const SizeRule rules[] = {
        {"q_lora_rank", mla.q_lora_rank.value_or(1), 1, limits::kWidth},
        {"kv_lora_rank", mla.kv_lora_rank, 1, limits::kWidth},
        {"qk_nope_head_dim", mla.qk_nope_head_dim, 1, limits::kHeadDim},
        {"qk_rope_head_dim", mla.qk_rope_head_dim, 1, limits::kHeadDim},
        {"v_head_dim", mla.v_head_dim, 1, limits::kHeadDim},
        {"index_n_heads", config.index_heads, 0, limits::kHeads},
        {"index_head_dim", config.index_head_dim, 0, limits::kHeadDim},
        {"index_topk", config.index_top_k, 0, limits::kPositions},
    };
    for (const SizeRule& rule : rules) {
        if (std::string message = check(rule); !message.empty()) return message;
    }
    const std::int64_t widest =
        mla.qk_nope_head_dim + std::max(mla.qk_rope_head_dim, mla.v_head_dim);
    if (config.num_attention_heads * widest > limits::kHeadWidth) {
        return fmt::format("num_attention_heads x head widths must be at most {}; found {} x {}",
                           limits::kHeadWidth, config.num_attention_heads, widest);
    }
    return {};
}

std::string check_layers(const ModelConfig& config) {
    for (const LayerKind& kind : config.layers) {
        if (kind.ffn == FfnKind::mixture && !config.moe)
            return "num_experts is needed, as the list of layers has mixtures of experts";
    }
    return {};
}

std::string check_recurrence(const ModelConfig& config) {
    if (!config.recurrence) return {};
    const Recurrence& mixer = *config.recurrence;
    const SizeRule rules[] = {
        {"heads of the recurrence", mixer.num_heads, 1, limits::kHeads},
        {"head width of the recurrence", mixer.head_dim, 1, limits::kWidth},
        {"groups of the recurrence", mixer.num_groups, 1, limits::kHeads},
        {"state size of the recurrence", mixer.state_size, 0, limits::kWidth},
        {"kernel of the convolution", mixer.conv_kernel, 0, limits::kWidth},
        {"time step rank", mixer.time_step_rank, 0, limits::kWidth},
    };
    for (const SizeRule& rule : rules) {
        if (std::string message = check(rule); !message.empty()) return message;
    }
    if (mixer.inner_width() > limits::kHeadWidth || mixer.key_width() > limits::kHeadWidth) {
        return fmt::format("the recurrence must be at most {} wide; found {} x {} and {} x {}",
                           limits::kHeadWidth, mixer.num_heads, mixer.head_dim, mixer.num_groups,
                           mixer.state_size);
    }
    return {};
}

std::string check_divisions(const ModelConfig& config) {
    if (config.num_attention_heads % config.num_key_value_heads != 0) {
        return fmt::format(
            "num_attention_heads must be a multiple of num_key_value_heads; found {} and {}",
            config.num_attention_heads, config.num_key_value_heads);
    }
    const bool rotary = config.mla || config.position_encoding == PositionEncoding::rope;
    // A share of a head may give an odd number, which transformers rounds up.
    const bool odd = config.rotary_fraction == 1 && config.rotary_dim() % 2 != 0;
    if (rotary && (odd || config.rotary_dim() == 0)) {
        return fmt::format(
            "{} must give an even number of rotated values, as rotary encoding turns "
            "pairs; found {} of {} values rotated",
            config.mla ? "qk_rope_head_dim" : "head_dim", config.rotary_dim(),
            config.mla ? config.mla->qk_rope_head_dim : config.head_dim);
    }
    return {};
}

/// An upper bound of the number of parameters, in floating point so that it cannot overflow.
double parameter_bound(const ModelConfig& config) {
    const auto real = [](std::int64_t value) { return static_cast<double>(value); };
    const double hidden = real(config.hidden_size);
    double ffn = 3 * hidden * real(config.intermediate_size);
    if (config.moe) {
        const double routed = real(config.moe->num_experts);
        const double width = 3 * real(config.moe->intermediate_size) + 2;
        ffn = std::max(ffn, hidden * (width * routed + 3 * real(config.moe->shared_width())));
    }
    double attention = 2 * hidden * real(config.query_width() + config.key_value_width());
    if (config.mla) {
        const double rank =
            real(config.mla->kv_lora_rank + config.mla->q_lora_rank.value_or(config.hidden_size));
        const double heads = real(config.query_width() + config.attention_output_width());
        attention = 2 * (hidden + rank) * heads + 2 * hidden * rank;
    }
    if (config.recurrence) {
        const Recurrence& mixer = *config.recurrence;
        attention += hidden * (5 * real(mixer.inner_width()) + 4 * real(mixer.key_width()) +
                               2 * real(mixer.num_heads)) +
                     real(mixer.inner_width()) *
                         (2 * real(mixer.time_step_rank) + 3 * real(mixer.state_size) + 16);
    }
    if (config.attention_gate) attention *= 2;
    attention += real(config.index_heads) * real(config.index_head_dim) *
                 real(config.mla ? config.mla->q_lora_rank.value_or(1) : 0);
    double streams = 0;
    if (config.alternating_updates) {
        const AlternatingUpdates& updates = *config.alternating_updates;
        streams = real(updates.num_streams) * hidden * (2 * hidden + 8) +
                  real(config.num_hidden_layers) * real(updates.hidden_size_per_layer) *
                      (real(updates.vocab_size_per_layer) + hidden);
        attention += 2 * hidden * real(updates.laurel_rank + updates.hidden_size_per_layer);
    }
    const double embeddings =
        hidden * (2 * real(config.vocab_size) + real(config.max_position_embeddings));
    return embeddings + streams + real(config.num_hidden_layers) * (attention + ffn + 16 * hidden);
}

}  // namespace

std::int64_t ModelConfig::rotary_dim() const {
    if (mla) return mla->qk_rope_head_dim;
    return static_cast<std::int64_t>(static_cast<double>(head_dim) * rotary_fraction);
}

std::int64_t ModelConfig::query_width() const {
    if (mla) return num_attention_heads * (mla->qk_nope_head_dim + mla->qk_rope_head_dim);
    return num_attention_heads * head_dim;
}

std::int64_t ModelConfig::attention_output_width() const {
    return num_attention_heads * (mla ? mla->v_head_dim : head_dim);
}

std::int64_t Recurrence::input_width() const {
    switch (kind) {
        case RecurrenceKind::mamba: return 2 * inner_width();
        case RecurrenceKind::mamba2: return 2 * inner_width() + 2 * key_width() + num_heads;
        case RecurrenceKind::gated_delta_net:
            return 2 * inner_width() + 2 * key_width() + 2 * num_heads;
        case RecurrenceKind::lightning: return 4 * inner_width();
        case RecurrenceKind::short_convolution: return 3 * inner_width();
    }
    return 0;
}

std::int64_t Recurrence::conv_channels() const {
    switch (kind) {
        case RecurrenceKind::mamba:
        case RecurrenceKind::short_convolution: return inner_width();
        case RecurrenceKind::mamba2:
        case RecurrenceKind::gated_delta_net: return inner_width() + 2 * key_width();
        case RecurrenceKind::lightning: return 0;
    }
    return 0;
}

std::int64_t Recurrence::state_multiply_adds() const {
    const std::int64_t state = inner_width() * state_size;
    switch (kind) {
        case RecurrenceKind::mamba:
        case RecurrenceKind::mamba2:
        case RecurrenceKind::lightning: return 2 * state;
        // What the state holds for a key is read before it is replaced.
        case RecurrenceKind::gated_delta_net: return 3 * state;
        case RecurrenceKind::short_convolution: return 0;
    }
    return 0;
}

LayerKind ModelConfig::layer_kind(std::int64_t layer) const {
    if (!layers.empty()) return layers[static_cast<std::size_t>(layer)];
    return {.ffn = is_moe_layer(layer) ? FfnKind::mixture : FfnKind::dense,
            .window = is_window_layer(layer)};
}

std::vector<LayerGroup> ModelConfig::layer_groups() const {
    std::vector<LayerGroup> groups;
    for (std::int64_t layer = 0; layer < num_hidden_layers; ++layer) {
        const LayerKind kind = layer_kind(layer);
        auto group = std::find_if(groups.begin(), groups.end(),
                                  [&](const LayerGroup& other) { return other.kind == kind; });
        if (group == groups.end()) {
            groups.push_back({kind, {}});
            group = std::prev(groups.end());
        }
        group->layers.push_back(layer);
    }
    return groups;
}

std::int64_t ModelConfig::num_attention_layers() const {
    if (layers.empty()) return num_hidden_layers;
    return std::count_if(layers.begin(), layers.end(),
                         [](const LayerKind& kind) { return kind.attention; });
}

void ModelConfig::resize_layers(std::int64_t count) {
    if (!layers.empty()) {
        std::vector<LayerKind> stretched;
        const std::int64_t given = num_hidden_layers;
        for (std::int64_t layer = 0; layer < count; ++layer)
            stretched.push_back(layers[static_cast<std::size_t>(layer * given / count)]);
        layers = std::move(stretched);
    }
    num_hidden_layers = count;
}

bool ModelConfig::is_moe_layer(std::int64_t layer) const {
    if (!layers.empty()) return layers[static_cast<std::size_t>(layer)].ffn == FfnKind::mixture;
    if (!moe || layer < moe->first_dense_layers) return false;
    if ((layer + moe->layer_offset) % moe->layer_frequency != 0) return false;
    const auto& dense = moe->dense_layers;
    return dense.empty() || std::find(dense.begin(), dense.end(), layer) == dense.end();
}

std::int64_t ModelConfig::num_moe_layers() const {
    if (!moe) return 0;
    std::int64_t count = 0;
    for (std::int64_t layer = 0; layer < num_hidden_layers; ++layer) {
        if (is_moe_layer(layer)) ++count;
    }
    return count;
}

std::int64_t ModelConfig::num_dense_layers() const {
    if (layers.empty()) return num_hidden_layers - num_moe_layers();
    return std::count_if(layers.begin(), layers.end(),
                         [](const LayerKind& kind) { return kind.ffn == FfnKind::dense; });
}

bool ModelConfig::is_window_layer(std::int64_t layer) const {
    if (!layers.empty()) return layers[static_cast<std::size_t>(layer)].window;
    if (!sliding_window || layer < sliding_window_first_layer) return false;
    if (full_attention_period > 0 && (layer + 1) % full_attention_period == 0) return false;
    return (layer - sliding_window_first_layer) % sliding_window_period == 0;
}

std::int64_t ModelConfig::num_window_layers() const {
    if (!layers.empty()) {
        return std::count_if(layers.begin(), layers.end(),
                             [](const LayerKind& kind) { return kind.window; });
    }
    if (!sliding_window || num_hidden_layers <= sliding_window_first_layer) return 0;
    if (full_attention_period > 0)
        return num_hidden_layers - num_hidden_layers / full_attention_period;
    const std::int64_t candidates = num_hidden_layers - sliding_window_first_layer;
    return (candidates + sliding_window_period - 1) / sliding_window_period;
}

std::string find_inconsistency(const ModelConfig& config) {
    using Check = std::string (*)(const ModelConfig&);
    for (const Check check_part :
         {Check{check_dense_sizes}, Check{check_experts}, Check{check_latent_attention},
          Check{check_recurrence}, Check{check_layers}, Check{check_divisions}}) {
        if (std::string message = check_part(config); !message.empty()) return message;
    }
    if (const double bound = parameter_bound(config); bound > limits::kParameters) {
        return fmt::format(
            "hidden_size and the other sizes make a model of about {:.2g} parameters; at most "
            "{:.0e} "
            "are supported (num_hidden_layers {}, hidden_size {}, intermediate_size {}, vocab_size "
            "{})",
            bound, limits::kParameters, config.num_hidden_layers, config.hidden_size,
            config.intermediate_size, config.vocab_size);
    }
    return {};
}

}  // namespace isoflop::model
