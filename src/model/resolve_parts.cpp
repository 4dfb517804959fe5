// Mixtures of experts, latent attention, MPT's nested objects, rotary scaling and attention
// windows.
#include "resolve_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"

namespace isoflop::model {
namespace {

std::int64_t required(const std::optional<std::int64_t>& value, const char* key,
                      const Resolution& part) {
    if (value) return *value;
    throw ModelKeyError(
        "", fmt::format("missing key '{}': a {} model needs it", key, part.config.model_type));
}

/// An object-valued key; nullptr when it was not given.
const config::Value* object_of(const std::optional<config::Value>& value, const char* key) {
    if (!value || value->is_null()) return nullptr;
    if (value->is_object()) return &*value;
    throw ModelKeyError(
        key, fmt::format("{} must be an object {{ ... }}; found {}", key, value->to_text()));
}

bool flag_in(const config::Value* object, const char* object_key, std::string_view key,
             bool otherwise) {
    const config::Value* value = object == nullptr ? nullptr : object->find(key);
    if (value == nullptr || value->is_null()) return otherwise;
    if (value->is_bool()) return value->as_bool();
    throw ModelKeyError(object_key, fmt::format("{}.{} must be true or false; found {}", object_key,
                                                key, value->to_text()));
}

double number_in(const config::Value& object, const char* object_key, std::string_view key,
                 double otherwise) {
    const config::Value* value = object.find(key);
    if (value == nullptr || value->is_null()) return otherwise;
    if (value->is_number() && value->as_number() > 0) return value->as_number();
    throw ModelKeyError(object_key, fmt::format("{}.{} must be a number > 0; found {}", object_key,
                                                key, value->to_text()));
}

std::string text_in(const config::Value* object, const char* object_key, std::string_view key,
                    std::string_view otherwise) {
    const config::Value* value = object == nullptr ? nullptr : object->find(key);
    if (value == nullptr || value->is_null()) return std::string(otherwise);
    if (value->is_string()) return value->as_string();
    throw ModelKeyError(object_key, fmt::format("{}.{} must be a string; found {}", object_key, key,
                                                value->to_text()));
}

std::vector<std::int64_t> parse_dense_layers(const Resolution& part) {
    const auto& value = part.keys.mlp_only_layers;
    std::vector<std::int64_t> layers;
    if (!value) return layers;
    const auto refuse = [&] {
        throw ModelKeyError("mlp_only_layers",
                            fmt::format("mlp_only_layers must be a list of layers from 0 to {}; "
                                        "found {}",
                                        part.config.num_hidden_layers - 1, value->to_text()));
    };
    if (!value->is_array()) refuse();
    for (const config::Value& layer : value->as_array()) {
        if (!layer.is_integer() || layer.as_integer() < 0 ||
            layer.as_integer() >= part.config.num_hidden_layers) {
            refuse();
        }
        layers.push_back(layer.as_integer());
    }
    std::sort(layers.begin(), layers.end());
    layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
    return layers;
}

/// The attn_config of MPT: grouped queries and the kind of position encoding.
void resolve_mpt_attention(const Resolution& part) {
    constexpr const char* kObject = "attn_config";
    ModelConfig& config = part.config;
    const config::Value* attention = object_of(part.keys.attn_config, kObject);
    const std::string type = text_in(attention, kObject, "attn_type", "multihead_attention");
    if (type == "multiquery_attention") {
        config.num_key_value_heads = 1;
    } else if (type == "grouped_query_attention") {
        const double heads = number_in(*attention, kObject, "kv_n_heads", 0);
        const double most = static_cast<double>(limits::kHeads);
        config.num_key_value_heads = static_cast<std::int64_t>(std::min(heads, most));
    } else if (type != "multihead_attention") {
        throw ModelKeyError(kObject,
                            fmt::format("attn_config.attn_type must be multihead_attention, "
                                        "multiquery_attention or grouped_query_attention; found "
                                        "\"{}\"",
                                        type));
    }
    for (const char* key : {"qk_ln", "qk_gn"}) {
        if (!flag_in(attention, kObject, key, false)) continue;
        throw ModelKeyError(kObject, fmt::format("attn_config.{} must be false; found true", key));
    }
    if (flag_in(attention, kObject, "rope", false)) {
        config.position_encoding = PositionEncoding::rope;
    } else if (!flag_in(attention, kObject, "alibi", true)) {
        config.position_encoding = part.keys.learned_pos_emb.value_or(true)
                                       ? PositionEncoding::learned_absolute
                                       : PositionEncoding::none;
    }
}

/// The object that scales rotary frequencies, from either generation of transformers.
std::optional<RopeScaling> parse_rope_scaling(const config::Value& object, const char* key,
                                              std::int64_t max_positions) {
    RopeScaling scaling;
    scaling.type = text_in(&object, key, "rope_type", text_in(&object, key, "type", "default"));
    if (scaling.type == "default") return std::nullopt;
    scaling.factor = number_in(object, key, "factor", scaling.factor);
    scaling.low_freq_factor = number_in(object, key, "low_freq_factor", scaling.low_freq_factor);
    scaling.high_freq_factor = number_in(object, key, "high_freq_factor", scaling.high_freq_factor);
    const double positions = number_in(object, key, "original_max_position_embeddings",
                                       static_cast<double>(max_positions));
    scaling.original_max_position_embeddings =
        static_cast<std::int64_t>(std::min(positions, static_cast<double>(limits::kPositions)));
    return scaling;
}

/// transformers writes out which layers have a window. A list that follows from the other keys
/// needs no list here.
void read_layer_types(const Resolution& part) {
    const auto& types = part.keys.layer_types;
    if (!types) return;
    ModelConfig& config = part.config;
    if (!types->is_array() ||
        static_cast<std::int64_t>(types->as_array().size()) != config.num_hidden_layers) {
        throw ModelKeyError("layer_types",
                            fmt::format("layer_types must be a list of {} entries, one a layer",
                                        config.num_hidden_layers));
    }
    const auto& list = types->as_array();
    const auto is = [](const config::Value& type, std::string_view name) {
        return type.is_string() && type.as_string() == name;
    };
    std::vector<bool> windows;
    for (std::size_t layer = 0; layer < list.size(); ++layer) {
        windows.push_back(is(list[layer], "sliding_attention"));
        if (windows.back() || is(list[layer], "full_attention")) continue;
        throw ModelKeyError("layer_types", fmt::format("layer_types[{}] must be full_attention or "
                                                       "sliding_attention; found {}",
                                                       layer, list[layer].to_text()));
    }
    if (std::find(windows.begin(), windows.end(), true) == windows.end()) {
        config.sliding_window.reset();
        return;
    }
    if (!config.sliding_window) {
        throw ModelKeyError("layer_types",
                            "layer_types has sliding_attention, but the model has no "
                            "sliding_window");
    }
    bool follows = true;
    for (std::size_t layer = 0; layer < windows.size(); ++layer) {
        follows &= config.is_window_layer(static_cast<std::int64_t>(layer)) == windows[layer];
    }
    if (follows) return;
    std::vector<LayerKind> layers;
    for (std::size_t layer = 0; layer < windows.size(); ++layer) {
        layers.push_back(config.layer_kind(static_cast<std::int64_t>(layer)));
        layers.back().window = windows[layer];
    }
    config.layers = std::move(layers);
}

}  // namespace

QkNorm parse_qk_norm(const config::Value& value) {
    if (value.is_bool()) return value.as_bool() ? QkNorm::per_head : QkNorm::none;
    if (value.is_string()) {
        if (const auto norm = from_string<QkNorm>(value.as_string())) return *norm;
    }
    const auto names = all_names<QkNorm>();
    throw ModelKeyError(
        "qk_norm",
        fmt::format("qk_norm must be true, false or one of {}; found {}{}", join(names),
                    value.to_text(),
                    value.is_string() ? suggestion(value.as_string(), names) : std::string()));
}

void resolve_experts(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    const Family& family = part.family;
    if (!family.has_experts && !(part.is_own && keys.num_experts)) return;
    if (family.experts_are_optional && !keys.num_experts) return;
    const std::int64_t experts = required(keys.num_experts, "num_experts", part);
    if (experts == 0) return;
    MixtureOfExperts moe;
    moe.num_experts = experts;
    moe.num_experts_per_token =
        keys.num_experts_per_tok || family.num_experts_per_token == 0
            ? required(keys.num_experts_per_tok, "num_experts_per_tok", part)
            : family.num_experts_per_token;
    if (family.experts_have_ffn_width) {
        moe.intermediate_size = part.config.intermediate_size;
    } else if (part.is_own) {
        moe.intermediate_size = keys.moe_intermediate_size.value_or(part.config.intermediate_size);
    } else {
        moe.intermediate_size = required(keys.moe_intermediate_size, "moe_intermediate_size", part);
    }
    const bool deepseek = family.naming == TensorNaming::deepseek;
    if (deepseek || part.is_own) {
        moe.num_shared_experts = keys.n_shared_experts.value_or(0);
        moe.first_dense_layers = keys.first_k_dense_replace.value_or(family.first_dense_layers);
        moe.layer_frequency = keys.moe_layer_freq.value_or(1);
    }
    if (family.naming == TensorNaming::qwen3_moe || (part.is_own && keys.decoder_sparse_step)) {
        moe.layer_frequency = keys.decoder_sparse_step.value_or(1);
        moe.layer_offset = 1;
    }
    if (!family.experts_have_ffn_width && !deepseek) moe.dense_layers = parse_dense_layers(part);
    moe.router_bias = family.model_type == "deepseek_v3";
    moe.expert_bias = part.config.ffn_bias;
    part.config.moe = std::move(moe);
}

void resolve_latent_attention(const Resolution& part) {
    const ModelKeys& keys = part.keys;
    if (!part.family.has_latent_attention && !(part.is_own && keys.kv_lora_rank)) return;
    part.config.mla = LatentAttention{
        .q_lora_rank = keys.q_lora_rank,
        .kv_lora_rank = required(keys.kv_lora_rank, "kv_lora_rank", part),
        .qk_nope_head_dim = required(keys.qk_nope_head_dim, "qk_nope_head_dim", part),
        .qk_rope_head_dim = required(keys.qk_rope_head_dim, "qk_rope_head_dim", part),
        .v_head_dim = required(keys.v_head_dim, "v_head_dim", part),
    };
    // Files have unrelated values here; a query meets keys of this width.
    part.config.head_dim = part.config.mla->qk_nope_head_dim + part.config.mla->qk_rope_head_dim;
}

void resolve_mpt(const Resolution& part) {
    if (part.family.naming != TensorNaming::mpt) return;
    resolve_mpt_attention(part);
    const config::Value* ffn = object_of(part.keys.ffn_config, "ffn_config");
    if (const std::string type = text_in(ffn, "ffn_config", "ffn_type", "mptmlp");
        type != "mptmlp") {
        throw ModelKeyError("ffn_config",
                            fmt::format("ffn_config.ffn_type must be mptmlp; found \"{}\"", type));
    }
    const bool bias = !part.keys.no_bias.value_or(true);
    part.config.qkv_bias = part.config.attention_output_bias = part.config.ffn_bias = bias;
    const std::string norm = part.keys.norm_type.value_or("low_precision_layernorm");
    if (norm == "rmsnorm" || norm == "low_precision_rmsnorm") {
        part.config.normalization = Normalization::rmsnorm;
    } else if (norm == "layernorm" || norm == "low_precision_layernorm") {
        part.config.normalization =
            bias ? Normalization::layernorm : Normalization::layernorm_nobias;
    } else {
        throw ModelKeyError("norm_type",
                            fmt::format("norm_type must be one of low_precision_layernorm, "
                                        "layernorm, low_precision_rmsnorm, rmsnorm; found \"{}\"",
                                        norm));
    }
}

void resolve_rotary(const Resolution& part) {
    ModelConfig& config = part.config;
    config.rope_theta = part.family.rope_theta;
    if (part.family.local_rope_theta > 0) config.local_rope_theta = part.family.local_rope_theta;
    config.rotary_fraction = part.family.rotary_fraction;
    const auto* parameters = object_of(part.keys.rope_parameters, "rope_parameters");
    if (parameters != nullptr && parameters->find("full_attention") != nullptr) {
        // One object for each type of layer.
        if (const auto* local = parameters->find("sliding_attention");
            local != nullptr && local->is_object()) {
            config.local_rope_theta =
                number_in(*local, "rope_parameters", "rope_theta",
                          part.family.local_rope_theta > 0 ? part.family.local_rope_theta
                                                           : part.family.rope_theta);
        }
        parameters = parameters->find("full_attention");
        if (!parameters->is_object()) parameters = nullptr;
    }
    if (parameters != nullptr) {
        config.rope_theta =
            number_in(*parameters, "rope_parameters", "rope_theta", config.rope_theta);
        config.rotary_fraction = number_in(*parameters, "rope_parameters", "partial_rotary_factor",
                                           config.rotary_fraction);
        config.rope_scaling =
            parse_rope_scaling(*parameters, "rope_parameters", config.max_position_embeddings);
    }
    if (const auto* scaling = object_of(part.keys.rope_scaling, "rope_scaling")) {
        config.rope_scaling =
            parse_rope_scaling(*scaling, "rope_scaling", config.max_position_embeddings);
    }
    if (part.keys.rope_theta) config.rope_theta = *part.keys.rope_theta;
    if (part.keys.partial_rotary_factor) config.rotary_fraction = *part.keys.partial_rotary_factor;
    if (config.rotary_fraction > 1) {
        throw ModelKeyError(
            "rope_parameters",
            fmt::format("partial_rotary_factor must be a number > 0 and <= 1; found "
                        "{}",
                        config.rotary_fraction));
    }
}

void resolve_window(const Resolution& part) {
    constexpr std::int64_t kDefaultWindow = 4096;  // of Gemma and, once opted in, of Qwen
    constexpr std::int64_t kQwenFullLayers = 28;
    const ModelKeys& keys = part.keys;
    ModelConfig& config = part.config;
    const WindowRule rule = part.family.window;
    const bool opt_in = rule == WindowRule::opt_in || rule == WindowRule::opt_in_all;
    const bool nth = rule == WindowRule::all_but_every_nth;
    const std::int64_t of_class =
        part.family.sliding_window > 0 ? part.family.sliding_window : kDefaultWindow;
    if (rule != WindowRule::none && keys.use_sliding_window.value_or(!opt_in)) {
        config.sliding_window = keys.sliding_window;
        if (opt_in || rule == WindowRule::alternating || nth) {
            config.sliding_window = keys.sliding_window.value_or(of_class);
        }
        if (rule == WindowRule::alternating) config.sliding_window_period = 2;
        if (nth) {
            config.full_attention_period =
                keys.sliding_window_pattern.value_or(part.family.window_period);
        }
        if (rule == WindowRule::opt_in) {
            config.sliding_window_first_layer = keys.max_window_layers.value_or(kQwenFullLayers);
        }
    }
    // The class of such a family reads the list itself.
    // The shapes of other families read them with what else is in their layers.
    const bool is_gemma = part.family.window == WindowRule::alternating ||
                          part.family.window == WindowRule::all_but_every_nth;
    if (part.family.shape == nullptr || is_gemma) read_layer_types(part);
}

}  // namespace isoflop::model
