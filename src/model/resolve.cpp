// Keys to config: model type or preset first, then sizes, choices and the special parts, then
// consistency.
#include <fmt/format.h>

#include <algorithm>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "resolve_parts.hpp"

namespace isoflop::model {
namespace {

// Sizes of every preset (GPT-2 small with its vocabulary rounded up to a multiple of 128).
constexpr std::int64_t kPresetLayers = 12;
constexpr std::int64_t kPresetHidden = 768;
constexpr std::int64_t kPresetHeads = 12;
constexpr std::int64_t kPresetVocabulary = 50304;
constexpr std::int64_t kPresetPositions = 1024;

[[noreturn]] void refuse(const char* key, const std::string& message) {
    throw ModelKeyError(key, message);
}

Family choose_family(const ModelKeys& keys) {
    if (!keys.model_type) {
        if (keys.architectures && !keys.arch_preset) {
            refuse("architectures",
                   "missing key 'model_type': Hugging Face files name their type "
                   "there; known are " +
                       join(known_model_types()));
        }
        return preset_family(keys.arch_preset.value_or(ArchPreset::llama));
    }
    if (keys.arch_preset) {
        refuse("arch_preset", fmt::format("model_type ({}) and arch_preset ({}) both choose the "
                                          "architecture; give one of them",
                                          *keys.model_type, to_string(*keys.arch_preset)));
    }
    if (const Family* family = find_family(*keys.model_type)) return *family;
    refuse("model_type",
           fmt::format("model_type '{}' is not known; known are {}.\nA model of another type is "
                       "described without model_type and architectures: sizes, normalization, "
                       "norm_position, ffn_type, hidden_act, position_encoding, qk_norm, biases, "
                       "tie_word_embeddings, experts (docs/configuration.md)",
                       printable(*keys.model_type), join(known_model_types())));
}

/// A size that only a preset has a default for.
std::int64_t size_or_preset(const Resolution& part, const std::optional<std::int64_t>& value,
                            std::int64_t preset_value, const char* key, const char* aliases) {
    if (value) return *value;
    if (part.keys.arch_preset) return preset_value;
    refuse("", fmt::format("missing key '{}' (also: {})", key, aliases));
}

std::int64_t derived_intermediate_size(const Resolution& part) {
    const ModelConfig& config = part.config;
    // Out-of-range sizes are reported later; until then they must not overflow here.
    const std::int64_t hidden = std::clamp<std::int64_t>(config.hidden_size, 1, limits::kWidth);
    if (part.keys.ffn_expansion_ratio) {
        const double width = static_cast<double>(hidden) * *part.keys.ffn_expansion_ratio;
        return static_cast<std::int64_t>(
            std::min(width, 2.0 * static_cast<double>(limits::kWidth)));
    }
    // A class with experts alone has no such key; its shape knows the width.
    const bool has_no_width = part.family.sizes.layers > 0 && part.family.sizes.ffn == 0;
    if (!part.is_own && config.is_gated() && !has_no_width) {
        refuse("", fmt::format("missing key 'intermediate_size' (also: d_ff): a {} model needs it",
                               config.model_type));
    }
    // 8/3 hidden_size gives the three gated matrices the parameters of two plain ones; the next
    // multiple of 64 keeps matrix products aligned: ceil(8 H / 3 / 64) * 64 = ceil(H / 24) * 64.
    if (config.is_gated()) return (hidden + 23) / 24 * 64;
    return 4 * hidden;
}

void resolve_intermediate_size(const Resolution& part) {
    ModelConfig& config = part.config;
    auto given = part.keys.intermediate_size;
    if (const std::string_view key = part.family.ffn_width_key; !key.empty()) {
        const std::int64_t width = ClassKeys(part.keys).integer(key, 0);
        if (width > 0) given = width;
    }
    if (part.family.naming == TensorNaming::bloom && given && *given != 4 * config.hidden_size) {
        refuse("intermediate_size",
               fmt::format("intermediate_size of a bloom model is 4 x hidden_size = {}; found {}",
                           4 * config.hidden_size, *given));
    }
    config.intermediate_size = given ? *given : derived_intermediate_size(part);
}

void resolve_sizes(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    ModelConfig& config = part.config;
    config.num_hidden_layers = size_or_preset(part, keys.num_hidden_layers, kPresetLayers,
                                              "num_hidden_layers", "n_layer, n_layers");
    config.hidden_size = size_or_preset(part, keys.hidden_size, kPresetHidden, "hidden_size",
                                        "n_embd, d_model, n_embed");
    const bool has_heads = part.family.sizes.layers == 0 || part.family.sizes.heads > 0;
    config.num_attention_heads = has_heads
                                     ? size_or_preset(part, keys.num_attention_heads, kPresetHeads,
                                                      "num_attention_heads", "n_head, n_heads")
                                     : 1;
    config.vocab_size =
        size_or_preset(part, keys.vocab_size, kPresetVocabulary, "vocab_size", "none");
    const auto& positions =
        keys.max_position_embeddings ? keys.max_position_embeddings : keys.n_ctx;
    config.max_position_embeddings = positions.value_or(
        keys.arch_preset ? kPresetPositions : part.family.max_position_embeddings);
}

void resolve_heads(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    const Family& family = part.family;
    ModelConfig& config = part.config;
    const std::int64_t heads = config.num_attention_heads;
    const bool derived = !keys.head_dim && family.head_dim == 0;
    const bool latent = family.has_latent_attention || (part.is_own && keys.kv_lora_rank);
    if (heads >= 1 && derived && !latent && !family.rounds_head_dim_down &&
        config.hidden_size % heads != 0) {
        refuse("num_attention_heads",
               fmt::format("hidden_size must be a multiple of num_attention_heads when head_dim is "
                           "not given; found {} and {}",
                           config.hidden_size, heads));
    }
    const std::int64_t quotient =
        heads >= 1 ? std::max<std::int64_t>(config.hidden_size / heads, 1) : 1;
    config.head_dim = keys.head_dim.value_or(family.head_dim != 0 ? family.head_dim : quotient);
    config.num_key_value_heads = keys.num_key_value_heads.value_or(
        family.num_key_value_heads != 0 ? family.num_key_value_heads : heads);
    if (!family.fused_heads) return;
    if (config.head_dim != quotient || config.hidden_size % std::max<std::int64_t>(heads, 1) != 0) {
        refuse("head_dim",
               fmt::format("head_dim of a {} model is hidden_size / num_attention_heads; "
                           "found {}, {} and {}",
                           config.model_type, config.head_dim, config.hidden_size, heads));
    }
    if (config.num_key_value_heads != heads) {
        refuse(
            "num_key_value_heads",
            fmt::format("num_key_value_heads of a {} model is num_attention_heads ({}); found {}",
                        config.model_type, heads, config.num_key_value_heads));
    }
}

void resolve_biases(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    const Family& family = part.family;
    ModelConfig& config = part.config;
    config.qkv_bias = family.qkv_bias;
    config.attention_output_bias = family.attention_output_bias;
    config.ffn_bias = family.ffn_bias;
    if (part.is_own && keys.bias) {
        config.qkv_bias = config.attention_output_bias = config.ffn_bias = *keys.bias;
    }
    if ((part.is_own || family.reads_attention_bias) && keys.attention_bias) {
        config.qkv_bias = config.attention_output_bias = *keys.attention_bias;
    }
    if ((part.is_own || family.reads_mlp_bias) && keys.mlp_bias) config.ffn_bias = *keys.mlp_bias;
}

Activation resolve_activation(const Resolution& part) {
    // Gemma's files carry "hidden_act": "gelu" although the model computes the tanh form.
    const bool gemma = part.family.model_type.starts_with("gemma");  // and gemma3n
    if (gemma) return part.keys.hidden_activation.value_or(part.family.activation);
    return part.keys.hidden_act.value_or(part.family.activation);
}

/// Choices: the family's, which the keys of a file without model_type override.
void resolve_choices(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    const Family& family = part.family;
    ModelConfig& config = part.config;
    config.normalization = family.normalization;
    config.norm_position = family.norm_position;
    config.position_encoding = family.position_encoding;
    config.ffn_type = family.ffn_type;
    config.qk_norm = family.qk_norm;
    if (part.is_own) {
        config.normalization = keys.normalization.value_or(family.normalization);
        config.norm_position = keys.norm_position.value_or(family.norm_position);
        config.position_encoding = keys.position_encoding.value_or(family.position_encoding);
        config.ffn_type = keys.ffn_type.value_or(family.ffn_type);
        if (keys.qk_norm) config.qk_norm = parse_qk_norm(*keys.qk_norm);
    }
    config.activation = resolve_activation(part);
    config.tie_word_embeddings = keys.tie_word_embeddings.value_or(family.tied);
    config.norm_eps = keys.norm_eps.value_or(family.norm_eps);
    config.dropout = keys.dropout.value_or(0.0);
    if (config.dropout >= 1) {
        throw ModelKeyError(
            "dropout",
            fmt::format("dropout={} would drop everything; it must be below 1", config.dropout));
    }
    config.embedding_norm = family.naming == TensorNaming::bloom;
    const bool neox = family.naming == TensorNaming::gpt_neox;
    config.parallel_residual = family.parallel_residual;
    config.shared_norm = family.shared_norm;
    config.interleaved_rotary = family.interleaved_rotary;
    if (neox || part.is_own) {
        config.parallel_residual = keys.use_parallel_residual.value_or(neox);
    }
    resolve_biases(part);
}

template <class T>
void check_choice(const std::optional<T>& given, T actual, const char* key,
                  const Resolution& part) {
    if (!given || *given == actual) return;
    std::string found;
    std::string fixed;
    if constexpr (std::is_same_v<T, bool>) {
        found = *given ? "true" : "false";
        fixed = actual ? "true" : "false";
    } else {
        found = to_string(*given);
        fixed = to_string(actual);
    }
    refuse(key, fmt::format("{} of model_type {} is {}; found {}. For other choices leave out "
                            "model_type and give arch_preset",
                            key, part.config.model_type, fixed, found));
}

/// With a model_type the architecture is fixed: all other programs would ignore a contradicting
/// choice.
void check_choices(const Resolution& part) {
    if (part.is_own) return;
    const ModelKeys& keys = part.keys;
    const ModelConfig& config = part.config;
    check_choice(keys.normalization, config.normalization, "normalization", part);
    check_choice(keys.norm_position, config.norm_position, "norm_position", part);
    check_choice(keys.position_encoding, config.position_encoding, "position_encoding", part);
    check_choice(keys.ffn_type, config.ffn_type, "ffn_type", part);
    if (keys.bias && *keys.bias) {
        check_choice(keys.bias, config.qkv_bias && config.attention_output_bias && config.ffn_bias,
                     "bias", part);
    } else {
        check_choice(keys.bias, config.qkv_bias || config.attention_output_bias || config.ffn_bias,
                     "bias", part);
    }
    if (keys.qk_norm) {
        check_choice(std::optional(parse_qk_norm(*keys.qk_norm)), config.qk_norm, "qk_norm", part);
    }
    if (keys.add_cross_attention.value_or(false)) {
        refuse("add_cross_attention", "add_cross_attention must be false; found true");
    }
}

/// The fused tensors of GPT-2 can hold only a block with the shape of GPT-2; every other custom
/// block uses the tensor names of LLaMA.
TensorNaming naming_of_own(const ModelConfig& config) {
    if (config.mla) return TensorNaming::deepseek;
    if (config.moe) return TensorNaming::qwen3_moe;
    const bool gpt2 =
        config.position_encoding == PositionEncoding::learned_absolute &&
        config.ffn_type == FfnType::standard && config.norm_position == NormPosition::pre &&
        config.normalization != Normalization::rmsnorm && config.qk_norm == QkNorm::none &&
        config.num_key_value_heads == config.num_attention_heads &&
        config.query_width() == config.hidden_size && !config.parallel_residual;
    return gpt2 ? TensorNaming::gpt2 : TensorNaming::llama;
}

/// The class of transformers that loads this block, or "custom".
std::string model_type_of_own(const ModelConfig& config) {
    if (config.mla || config.moe || config.parallel_residual) return "custom";
    const bool all_biases = config.qkv_bias && config.attention_output_bias && config.ffn_bias;
    if (config.naming == TensorNaming::gpt2) {
        const bool loads = config.normalization == Normalization::layernorm && all_biases;
        return loads ? "gpt2" : "custom";
    }
    const bool llama_block = config.normalization == Normalization::rmsnorm &&
                             config.norm_position == NormPosition::pre &&
                             config.position_encoding == PositionEncoding::rope &&
                             config.is_gated() && config.rotary_fraction == 1;
    if (!llama_block) return "custom";
    if (config.qk_norm == QkNorm::per_head && !config.ffn_bias) return "qwen3";
    if (config.qk_norm != QkNorm::none) return "custom";
    return config.sliding_window ? "custom" : "llama";
}

void check_consistency(const Resolution& part) {
    std::string message = find_inconsistency(part.config);
    if (message.empty()) return;
    if (!part.keys.num_key_value_heads &&
        message.find("num_key_value_heads") != std::string::npos) {
        message += fmt::format(" (num_key_value_heads is not given; {} has {})",
                               part.config.model_type, part.config.num_key_value_heads);
    }
    // Messages begin with the key that they concern.
    throw ModelKeyError(message.substr(0, message.find(' ')), message);
}

}  // namespace

std::vector<std::string_view> known_model_types() {
    std::vector<std::string_view> names;
    for (const Family& family : families()) names.push_back(family.model_type);
    names.emplace_back("kimi_k2");
    return names;
}

ModelConfig resolve(const ModelKeys& keys) {
    const Family family = choose_family(keys);
    ModelConfig config;
    config.model_type = keys.model_type.value_or(std::string(family.model_type));
    config.preset = keys.model_type
                        ? *keys.model_type
                        : std::string(to_string(keys.arch_preset.value_or(ArchPreset::llama)));
    config.naming = family.naming;
    const Resolution part{keys, family, !keys.model_type.has_value(), config};
    resolve_choices(part);
    resolve_sizes(part);
    resolve_intermediate_size(part);
    resolve_heads(part);
    resolve_rotary(part);
    resolve_latent_attention(part);
    resolve_experts(part);
    resolve_mpt(part);
    resolve_window(part);
    if (family.shape != nullptr) family.shape(ClassKeys(keys), config);
    check_choices(part);
    if (part.is_own) {
        config.naming = naming_of_own(config);
        config.model_type = model_type_of_own(config);
    }
    check_consistency(part);
    return config;
}

}  // namespace isoflop::model
