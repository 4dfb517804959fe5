#include "hugging_face_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "family_classes.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/model/trainable.hpp"

namespace isoflop::checkpoint {
namespace {

using model::Activation;
using model::ModelConfig;
using nlohmann::ordered_json;

constexpr HuggingFaceClass kLlama = {.model_type = "llama", .name = "LlamaForCausalLM"};
constexpr HuggingFaceClass kMistral = {.model_type = "mistral", .name = "MistralForCausalLM"};
constexpr HuggingFaceClass kQwen2 = {.model_type = "qwen2", .name = "Qwen2ForCausalLM"};
constexpr HuggingFaceClass kQwen3 = {.model_type = "qwen3", .name = "Qwen3ForCausalLM"};
constexpr HuggingFaceClass kGpt2 = {.model_type = "gpt2", .name = "GPT2LMHeadModel"};

[[noreturn]] void no_class(std::string_view key, std::string_view value,
                           std::string_view alternative) {
    throw ConfigError(
        fmt::format("no class of Hugging Face transformers computes this model: {} {} has "
                    "none{}{}. The checkpoint itself "
                    "(model.safetensors) can be read by any safetensors library",
                    key, value, alternative.empty() ? "" : "; ", alternative));
}

/// Learned positions: GPT-2's block, or none.
void require_gpt2_block(const ModelConfig& config) {
    if (config.naming == model::TensorNaming::gpt2) return;
    constexpr std::string_view kWith = "with position_encoding learned_absolute";
    const auto refuse = [&](std::string_view key, std::string_view value, std::string_view wanted) {
        no_class(key, fmt::format("{} {}", value, kWith),
                 fmt::format("GPT2LMHeadModel has {}", wanted));
    };
    if (config.normalization == model::Normalization::rmsnorm) {
        refuse("normalization", to_string(config.normalization), "layernorm");
    }
    if (config.is_gated()) refuse("ffn_type", to_string(config.ffn_type), "standard");
    if (config.qk_norm != model::QkNorm::none) refuse("qk_norm", to_string(config.qk_norm), "none");
    if (config.num_key_value_heads != config.num_attention_heads) {
        refuse("n_kv_head", std::to_string(config.num_key_value_heads), "as many as n_head");
    }
    refuse("head_dim", std::to_string(config.head_dim), "n_embd / n_head");
}

/// Mistral's: in every layer of a block without biases and norms on queries and keys.
bool is_mistral_window(const ModelConfig& config) {
    return config.sliding_window_period == 1 && config.sliding_window_first_layer == 0 &&
           config.qk_norm == model::QkNorm::none && !config.qkv_bias &&
           !config.attention_output_bias && !config.ffn_bias;
}

bool is_qwen2(const ModelConfig& config) {
    return config.qkv_bias && !config.attention_output_bias && !config.ffn_bias &&
           config.head_dim * config.num_attention_heads == config.hidden_size;
}

/// Qwen's: in the layers that its list names.
bool is_qwen_window(const ModelConfig& config) {
    return is_qwen2(config) || config.qk_norm == model::QkNorm::per_head;
}

/// Rotary positions: the block of LLaMA and its relatives, or none.
void require_llama_block(const ModelConfig& config) {
    if (config.normalization != model::Normalization::rmsnorm) {
        no_class("normalization",
                 fmt::format("{} with position_encoding rope", to_string(config.normalization)),
                 "LlamaForCausalLM has rmsnorm");
    }
    if (!config.is_gated()) {
        no_class("ffn_type",
                 fmt::format("{} with position_encoding rope", to_string(config.ffn_type)),
                 "LlamaForCausalLM has swiglu");
    }
    if (config.rotary_fraction != 1) {
        no_class("partial_rotary_factor", fmt::format("{}", config.rotary_fraction),
                 "LlamaForCausalLM rotates whole heads");
    }
    if (config.sliding_window && !is_mistral_window(config) && !is_qwen_window(config)) {
        no_class("sliding_window", std::to_string(*config.sliding_window),
                 "MistralForCausalLM has one in every layer, and neither biases nor qk_norm");
    }
    if (config.qk_norm == model::QkNorm::full_width) {
        no_class("qk_norm", "full_width in a pre-norm block", "Qwen3ForCausalLM has per_head");
    }
    if (config.qk_norm == model::QkNorm::per_head && config.ffn_bias) {
        no_class("qk_norm", "per_head with biases in the feed-forward network",
                 "Qwen3ForCausalLM has no such biases");
    }
    if (config.rope_scaling && config.rope_scaling->type != "llama3" &&
        config.rope_scaling->type != "linear" && config.rope_scaling->type != "default") {
        no_class("rope_scaling", config.rope_scaling->type, "llama3 and linear are written");
    }
}

std::string_view activation_name(Activation activation) {
    switch (activation) {
        case Activation::silu: return "silu";
        case Activation::gelu: return "gelu";
        case Activation::gelu_tanh: return "gelu_new";
        case Activation::relu: return "relu";
        case Activation::leaky_relu: return "leaky_relu";
        case Activation::relu_squared: return "relu2";
    }
    return "silu";
}

std::string_view torch_type(ElementType type) {
    switch (type) {
        case ElementType::bf16: return "bfloat16";
        case ElementType::f16: return "float16";
        default: return "float32";
    }
}

ordered_json id_or_null(const std::optional<std::int64_t>& id) {
    return id ? ordered_json(*id) : ordered_json(nullptr);
}

ordered_json rope_scaling_json(const ModelConfig& config) {
    if (!config.rope_scaling || config.rope_scaling->type == "default") return nullptr;
    const model::RopeScaling& scaling = *config.rope_scaling;
    ordered_json object = {{"rope_type", scaling.type}, {"factor", scaling.factor}};
    if (scaling.type == "llama3") {
        object["low_freq_factor"] = scaling.low_freq_factor;
        object["high_freq_factor"] = scaling.high_freq_factor;
        object["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
    }
    return object;
}

void add_gpt2_keys(ordered_json& json, const ModelConfig& config) {
    json["n_layer"] = config.num_hidden_layers;
    json["n_head"] = config.num_attention_heads;
    json["n_embd"] = config.hidden_size;
    json["n_inner"] = config.intermediate_size;
    json["n_positions"] = config.max_position_embeddings;
    json["n_ctx"] = config.max_position_embeddings;
    json["activation_function"] = activation_name(config.activation);
    json["layer_norm_epsilon"] = config.norm_eps;
    json["attn_pdrop"] = config.dropout;
    json["embd_pdrop"] = config.dropout;
    json["resid_pdrop"] = config.dropout;
    json["initializer_range"] = 0.02;
}

void add_llama_keys(ordered_json& json, const ModelConfig& config, const HuggingFaceClass& target) {
    json["num_hidden_layers"] = config.num_hidden_layers;
    json["hidden_size"] = config.hidden_size;
    json["num_attention_heads"] = config.num_attention_heads;
    json["num_key_value_heads"] = config.num_key_value_heads;
    if (target.model_type != kQwen2.model_type) json["head_dim"] = config.head_dim;
    json["intermediate_size"] = config.intermediate_size;
    json["max_position_embeddings"] = config.max_position_embeddings;
    json["hidden_act"] = activation_name(config.activation);
    json["rms_norm_eps"] = config.norm_eps;
    json["rope_theta"] = config.rope_theta;
    json["rope_scaling"] = rope_scaling_json(config);
    json["attention_dropout"] = config.dropout;
    json["initializer_range"] = 0.02;
    const ModelConfig held = as_class_holds_it(config);
    if (target.model_type == kLlama.model_type || target.model_type == kQwen3.model_type) {
        json["attention_bias"] = held.qkv_bias;
    }
    if (target.model_type == kLlama.model_type) {
        json["mlp_bias"] = held.ffn_bias;
    } else if (target.model_type == kMistral.model_type) {
        json["sliding_window"] = *config.sliding_window;
    } else if (config.sliding_window) {
        json["use_sliding_window"] = true;
        json["max_window_layers"] = config.sliding_window_first_layer;
        add_layer_types(json, config);
    } else {
        json["use_sliding_window"] = false;
        json["max_window_layers"] = config.num_hidden_layers;
    }
}

/// The ids as the imported config.json has them: null, one, or a list.
void keep_special_tokens(ordered_json& json, const std::string& imported) {
    if (imported.empty()) return;
    const ordered_json config = config::parse_json(imported, "config.json of the imported model");
    if (!config.is_object()) return;
    for (const char* key :
         {"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id"}) {
        if (const auto found = config.find(key); found != config.end()) json[key] = *found;
    }
}

}  // namespace

HuggingFaceClass hugging_face_class(const ModelConfig& config) {
    if (const HuggingFaceClass* family = family_class(config)) return *family;
    if (config.moe) no_class("num_experts", "of this block", "");
    if (config.mla) no_class("kv_lora_rank", "of this block", "");
    if (config.norm_position != model::NormPosition::pre) {
        no_class("norm_position", to_string(config.norm_position), "pre has");
    }
    if (config.parallel_residual) no_class("use_parallel_residual", "true", "");
    if (config.embedding_norm) no_class("embedding_norm", "true", "");
    if (config.position_encoding == model::PositionEncoding::learned_absolute) {
        require_gpt2_block(config);
        return kGpt2;
    }
    if (config.position_encoding != model::PositionEncoding::rope) {
        no_class("position_encoding", to_string(config.position_encoding),
                 "rope and learned_absolute have");
    }
    require_llama_block(config);
    if (config.qk_norm == model::QkNorm::per_head) return kQwen3;
    if (is_qwen2(config)) return kQwen2;
    return config.sliding_window ? kMistral : kLlama;
}

ModelConfig as_class_holds_it(const ModelConfig& config) {
    ModelConfig held = config;
    if (family_class(config) != nullptr) return held;
    const std::string_view type = hugging_face_class(config).model_type;
    if (type == kGpt2.model_type) {
        held.normalization = model::Normalization::layernorm;
        held.qkv_bias = held.attention_output_bias = held.ffn_bias = true;
    } else if (type != kQwen2.model_type) {
        held.qkv_bias = held.attention_output_bias =
            config.qkv_bias || config.attention_output_bias;
    }
    return held;
}

ordered_json hugging_face_config(const ModelConfig& config, ElementType type,
                                 const TokenizerInformation& tokenizer) {
    const HuggingFaceClass target = hugging_face_class(config);
    ordered_json json;
    json["architectures"] = {target.name};
    json["model_type"] = target.model_type;
    if (family_class(config) != nullptr) {
        add_family_keys(json, config);
        if (config.rope_scaling) json["rope_scaling"] = rope_scaling_json(config);
    } else if (target.model_type == kGpt2.model_type) {
        add_gpt2_keys(json, config);
    } else {
        add_llama_keys(json, config, target);
    }
    json["vocab_size"] = config.vocab_size;
    json["tie_word_embeddings"] = config.tie_word_embeddings;
    // The defaults of the classes are ids of their own tokenizers: generation would stop at some
    // token of ours.
    json["bos_token_id"] = id_or_null(tokenizer.beginning_of_text);
    json["eos_token_id"] = id_or_null(tokenizer.end_of_text);
    json["pad_token_id"] = nullptr;
    keep_special_tokens(json, tokenizer.config_json);
    json["torch_dtype"] = torch_type(type);
    json["use_cache"] = true;
    return json;
}

void check_importable(const ModelConfig& config, const std::string& config_json,
                      const std::filesystem::path& path) {
    const auto refuse = [&](const std::string& what) {
        throw ConfigError(fmt::format("cannot import '{}': {}", path.string(), what));
    };
    // Of one token: a context that is too long for the model is refused where it is chosen.
    const std::string reason_of_block = model::untrainable_reason(config, 1);
    if (!reason_of_block.empty() && !reason_of_block.starts_with("rope_scaling.")) {
        refuse(fmt::format("model_type {} has {}, which the trainer does not run",
                           config.model_type, reason_of_block));
    }
    if (config.rope_scaling) {
        if (const std::string reason = model::untrainable_rope_scaling(*config.rope_scaling);
            !reason.empty()) {
            refuse(
                fmt::format("rope_scaling: {} is not computed by the trainer, so that nothing "
                            "could use the model; rope_type llama3, linear and default are",
                            reason));
        }
    }
    // Read before as JSONC, which allows comments; transformers does not write such files.
    const auto json = config::try_parse_json(config_json);
    if (!json || !json->is_object()) refuse("it is not plain JSON");
    const auto is = [&](const char* key, bool value) {
        const auto found = json->find(key);
        return found != json->end() && found->is_boolean() && found->get<bool>() == value;
    };
    if (is("scale_attn_weights", false)) refuse("scale_attn_weights false is not supported");
    if (is("scale_attn_by_inverse_layer_idx", true))
        refuse("scale_attn_by_inverse_layer_idx true is not supported");
    const auto quantized = json->find("quantization_config");
    if (quantized != json->end() && !quantized->is_null()) {
        refuse(
            "its weights are quantized (quantization_config); import the original float weights");
    }
}

}  // namespace isoflop::checkpoint
