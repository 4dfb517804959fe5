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
        {"first_k_dense_replace", moe.first_dense_layers, 0, limits::kLayers},
        {"moe_layer_freq", moe.layer_frequency, 1, limits::kLayers},
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

std::string check_divisions(const ModelConfig& config) {
    if (config.num_attention_heads % config.num_key_value_heads != 0) {
        return fmt::format(
            "num_attention_heads must be a multiple of num_key_value_heads; found {} and {}",
            config.num_attention_heads, config.num_key_value_heads);
    }
    const bool rotary = config.mla || config.position_encoding == PositionEncoding::rope;
    if (rotary && (config.rotary_dim() % 2 != 0 || config.rotary_dim() == 0)) {
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
        const double experts = real(config.moe->num_experts + config.moe->num_shared_experts);
        ffn = std::max(ffn, (3 * real(config.moe->intermediate_size) + 2) * hidden * experts);
    }
    double attention = 2 * hidden * real(config.query_width() + config.key_value_width());
    if (config.mla) {
        const double rank =
            real(config.mla->kv_lora_rank + config.mla->q_lora_rank.value_or(config.hidden_size));
        const double heads = real(config.query_width() + config.attention_output_width());
        attention = 2 * (hidden + rank) * heads + 2 * hidden * rank;
    }
    const double embeddings =
        hidden * (2 * real(config.vocab_size) + real(config.max_position_embeddings));
    return embeddings + real(config.num_hidden_layers) * (attention + ffn + 16 * hidden);
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

bool ModelConfig::is_moe_layer(std::int64_t layer) const {
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

bool ModelConfig::is_window_layer(std::int64_t layer) const {
    if (!sliding_window || layer < sliding_window_first_layer) return false;
    if (full_attention_period > 0 && (layer + 1) % full_attention_period == 0) return false;
    return (layer - sliding_window_first_layer) % sliding_window_period == 0;
}

std::int64_t ModelConfig::num_window_layers() const {
    if (!sliding_window || num_hidden_layers <= sliding_window_first_layer) return 0;
    if (full_attention_period > 0)
        return num_hidden_layers - num_hidden_layers / full_attention_period;
    const std::int64_t candidates = num_hidden_layers - sliding_window_first_layer;
    return (candidates + sliding_window_period - 1) / sliding_window_period;
}

std::string find_inconsistency(const ModelConfig& config) {
    using Check = std::string (*)(const ModelConfig&);
    for (const Check check_part : {Check{check_dense_sizes}, Check{check_experts},
                                   Check{check_latent_attention}, Check{check_divisions}}) {
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
