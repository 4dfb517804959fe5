#include "foreign_keys.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_fields.hpp"
#include "resolve_parts.hpp"

namespace isoflop::model {
namespace {

/// Parts of names that describe how large a model is.
constexpr std::array<std::string_view, 14> kSizeWords = {
    "size",  "dim", "layers", "heads", "experts", "rank",  "vocab",
    "width", "ffn", "hidden", "inter", "blocks",  "depth", "groups"};
/// Foreign keys with such a word that change no parameter of the language model. transformers up to
/// 4.57 writes the settings of generation into every file.
constexpr std::array<std::string_view, 9> kHarmless = {
    "chunk_size", "batch_size", "window",      "drop",         "hidden_states",
    "act",        "ngram",      "beam_groups", "original_max_"};

bool has_word(std::string_view key, std::string_view word) {
    return key.find(word) != std::string_view::npos;
}

template <std::size_t N>
bool has_any_word(std::string_view key, const std::array<std::string_view, N>& words) {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return has_word(key, word); });
}

template <std::size_t N>
bool is_one_of(std::string_view key, const std::array<std::string_view, N>& names) {
    return std::find(names.begin(), names.end(), key) != names.end();
}

bool has_all_biases(const ModelConfig& config) {
    return config.qkv_bias && config.attention_output_bias && config.ffn_bias;
}

bool has_any_bias(const ModelConfig& config) {
    return config.qkv_bias || config.attention_output_bias || config.ffn_bias;
}

bool contradicts_biases(bool given, const ModelConfig& config) {
    return given ? !has_all_biases(config) : has_any_bias(config);
}

/// Choices under other programs' names.
bool is_another_choice(std::string_view key, bool given, const ModelConfig& config) {
    constexpr std::array<std::string_view, 6> qkv = {"qkv_bias",     "use_qkv_bias",
                                                     "add_qkv_bias", "query_key_value_bias",
                                                     "attn_bias",    "use_attention_bias"};
    constexpr std::array<std::string_view, 5> all = {"use_bias", "add_bias_linear", "linear_bias",
                                                     "use_bias_term", "add_bias"};
    constexpr std::array<std::string_view, 3> one_head = {"multi_query", "multi_query_attention",
                                                          "use_mqa"};
    if (is_one_of(key, qkv)) return given != config.qkv_bias;
    if (is_one_of(key, all)) return contradicts_biases(given, config);
    if (is_one_of(key, one_head)) return given != (config.num_key_value_heads == 1);
    const bool norms_queries = has_word(key, "qk_norm") || has_word(key, "qk_layernorm") ||
                               has_word(key, "qk_layer_norm") || has_word(key, "query_norm");
    if (norms_queries) return given != (config.qk_norm != QkNorm::none);
    // What other biases and projections add is in none of the classes here.
    constexpr std::array<std::string_view, 4> harmless = {"skip_bias", "bias_dropout", "bias_gelu",
                                                          "bias_swiglu"};
    const bool adds = has_word(key, "bias") || has_word(key, "multi_query") ||
                      has_word(key, "new_decoder_architecture");
    return given && adds && !has_any_word(key, harmless);
}

/// The keys of ours that one member sets; nothing where its value does not fit.
std::optional<ModelKeys> keys_of(const config::Member& member) {
    const config::Document document{.file_name = {}, .text = {}, .root = {}};
    try {
        ModelFile file;
        model_schema().read(file, document,
                            config::Value(config::Value::Object{member}, member.key_location));
        return std::move(file.keys);
    } catch (const ConfigError&) {
        return std::nullopt;
    }
}

template <class T, class U>
bool differs(const std::optional<T>& given, const U& used) {
    return given && *given != used;
}

bool changes_sizes(const ModelKeys& keys, const ModelConfig& config) {
    const bool learned = config.position_encoding == PositionEncoding::learned_absolute;
    const auto width = [&](double ratio) {
        return static_cast<double>(config.hidden_size) * ratio;
    };
    return differs(keys.num_hidden_layers, config.num_hidden_layers) ||
           differs(keys.hidden_size, config.hidden_size) ||
           differs(keys.num_attention_heads, config.num_attention_heads) ||
           differs(keys.vocab_size, config.vocab_size) ||
           differs(keys.intermediate_size, config.intermediate_size) ||
           (keys.ffn_expansion_ratio &&
            width(*keys.ffn_expansion_ratio) != static_cast<double>(config.intermediate_size)) ||
           (!config.mla && (differs(keys.num_key_value_heads, config.num_key_value_heads) ||
                            differs(keys.head_dim, config.head_dim))) ||
           (learned && (differs(keys.max_position_embeddings, config.max_position_embeddings) ||
                        differs(keys.n_ctx, config.max_position_embeddings)));
}

bool changes_choices(const ModelKeys& keys, const ModelConfig& config) {
    const bool learned = config.position_encoding == PositionEncoding::learned_absolute;
    const bool attention_bias = config.qkv_bias && config.attention_output_bias;
    if (keys.qk_norm) {
        try {
            return parse_qk_norm(*keys.qk_norm) != config.qk_norm;
        } catch (const ConfigError&) {
            return false;
        }
    }
    return differs(keys.normalization, config.normalization) ||
           differs(keys.norm_position, config.norm_position) ||
           differs(keys.position_encoding, config.position_encoding) ||
           differs(keys.ffn_type, config.ffn_type) ||
           (keys.bias && contradicts_biases(*keys.bias, config)) ||
           (keys.no_bias && contradicts_biases(!*keys.no_bias, config)) ||
           differs(keys.attention_bias, attention_bias) ||
           differs(keys.mlp_bias, config.ffn_bias) ||
           differs(keys.tie_word_embeddings, config.tie_word_embeddings) ||
           differs(keys.use_parallel_residual, config.parallel_residual) ||
           (keys.learned_pos_emb.value_or(false) && !learned) ||
           keys.add_cross_attention.value_or(false);
}

bool changes_experts(const ModelKeys& keys, const ModelConfig& config) {
    const auto is_given = [](const std::optional<std::int64_t>& key) { return key && *key > 0; };
    const bool latent = is_given(keys.q_lora_rank) || is_given(keys.kv_lora_rank) ||
                        is_given(keys.qk_nope_head_dim) || is_given(keys.qk_rope_head_dim) ||
                        is_given(keys.v_head_dim);
    if (latent) return true;
    if (!config.moe) {
        return is_given(keys.num_experts) || is_given(keys.moe_intermediate_size) ||
               is_given(keys.n_shared_experts);
    }
    return differs(keys.num_experts, config.moe->num_experts) ||
           differs(keys.num_experts_per_tok, config.moe->num_experts_per_token) ||
           differs(keys.moe_intermediate_size, config.moe->intermediate_size) ||
           differs(keys.n_shared_experts, config.moe->num_shared_experts) ||
           differs(keys.first_k_dense_replace, config.moe->first_dense_layers) ||
           differs(keys.moe_layer_freq, config.moe->layer_frequency) ||
           differs(keys.decoder_sparse_step, config.moe->layer_frequency);
}

}  // namespace

bool says_another_model(std::string_view key, const config::Value& value,
                        const ModelConfig& config) {
    if (value.is_bool()) return is_another_choice(key, value.as_bool(), config);
    const bool positive = value.is_number() && value.as_number() > 0;
    return positive && has_any_word(key, kSizeWords) && !has_any_word(key, kHarmless);
}

bool would_change_the_count(const config::Member& foreign, const ModelConfig& config) {
    const std::optional<ModelKeys> keys = keys_of(foreign);
    return keys && (changes_sizes(*keys, config) || changes_choices(*keys, config) ||
                    changes_experts(*keys, config));
}

bool names_unmodelled_part(std::string_view key, const config::Value& value) {
    constexpr std::array<std::string_view, 16> parts = {
        "router",       "mixer",         "mamba",      "ssm",
        "recurren",     "linear_attn",   "linear_att", "attention_cla",
        "attn_class",   "attention_typ", "attn_type",  "attention_v",
        "attn_variant", "indexer",       "short_conv", "custom_attention"};
    // Of training and of kernels.
    constexpr std::array<std::string_view, 12> harmless = {
        "loss",  "coef",   "jitter", "dropout", "implementation", "dtype",
        "noise", "logits", "bias",   "scal",    "kernel",         "norm_topk"};
    if (!has_any_word(key, parts) || has_any_word(key, harmless)) return false;
    if (value.is_bool()) return value.as_bool();
    if (value.is_number()) return value.as_number() != 0;
    if (value.is_string()) return !value.as_string().empty();
    if (value.is_array()) return !value.as_array().empty();
    return value.is_object() && !value.as_object().empty();
}

}  // namespace isoflop::model
