#include "family_classes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace isoflop::checkpoint {
namespace {

using model::Activation;
using model::ModelConfig;
using nlohmann::ordered_json;

struct FamilyClass {
    HuggingFaceClass names;
    std::string_view eps_key;
    void (*add)(ordered_json& json, const ModelConfig& config);  ///< what only this class has
};

ordered_json optional_number(const std::optional<double>& number) {
    return number ? ordered_json(*number) : ordered_json(nullptr);
}

void add_window(ordered_json& json, const ModelConfig& config) {
    json["sliding_window"] =
        config.sliding_window ? ordered_json(*config.sliding_window) : ordered_json(nullptr);
}

void add_biases(ordered_json& json, const ModelConfig& config) {
    json["attention_bias"] = config.qkv_bias;
    json["mlp_bias"] = config.ffn_bias;
}

void add_attention_bias(ordered_json& json, const ModelConfig& config) {
    json["attention_bias"] = config.qkv_bias;
}

void add_partial_rotary(ordered_json& json, const ModelConfig& config) {
    json["partial_rotary_factor"] = config.rotary_fraction;
}

void add_gemma(ordered_json& json, const ModelConfig& config) {
    add_attention_bias(json, config);
    json["hidden_activation"] = json.at("hidden_act");
}

void add_gemma2(ordered_json& json, const ModelConfig& config) {
    add_gemma(json, config);
    const double scale = config.attention_scale.value_or(1);
    json["query_pre_attn_scalar"] = 1 / (scale * scale);
    json["attn_logit_softcapping"] = optional_number(config.attention_soft_cap);
    json["final_logit_softcapping"] = optional_number(config.final_logit_soft_cap);
    add_layer_types(json, config);
}

void add_gemma3(ordered_json& json, const ModelConfig& config) {
    add_gemma2(json, config);
    if (config.full_attention_period > 0)
        json["sliding_window_pattern"] = config.full_attention_period;
    json["rope_local_base_freq"] = config.local_rope_theta.value_or(config.rope_theta);
}

void add_gpt_neox(ordered_json& json, const ModelConfig& config) {
    add_attention_bias(json, config);
    json["rotary_pct"] = config.rotary_fraction;
    json["rotary_emb_base"] = config.rope_theta;
    json["use_parallel_residual"] = config.parallel_residual;
}

void add_phi(ordered_json& json, const ModelConfig& config) {
    add_partial_rotary(json, config);
    json["qk_layernorm"] = false;
}

void add_phi3(ordered_json& json, const ModelConfig& config) {
    add_partial_rotary(json, config);
    add_window(json, config);
    json["original_max_position_embeddings"] = config.max_position_embeddings;
}

void add_granite(ordered_json& json, const ModelConfig& config) {
    add_biases(json, config);
    json["embedding_multiplier"] = config.embedding_scale;
    json["residual_multiplier"] = config.residual_scale;
    json["attention_multiplier"] = config.attention_scale.value_or(1);
    json["logits_scaling"] = 1 / config.logit_scale;
}

void add_smollm3(ordered_json& json, const ModelConfig& config) {
    add_biases(json, config);
    add_layer_types(json, config);
    json["use_sliding_window"] = config.num_window_layers() > 0;
    ordered_json rotary = ordered_json::array();
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
        rotary.push_back(config.layer_kind(layer).rotary ? 1 : 0);
    json["no_rope_layers"] = rotary;
}

void add_olmo3(ordered_json& json, const ModelConfig& config) {
    add_attention_bias(json, config);
    add_layer_types(json, config);
}

void add_cohere(ordered_json& json, const ModelConfig& config) {
    add_attention_bias(json, config);
    json["logit_scale"] = config.logit_scale;
}

void add_cohere2(ordered_json& json, const ModelConfig& config) {
    add_cohere(json, config);
    add_layer_types(json, config);
}

void add_stablelm(ordered_json& json, const ModelConfig& config) {
    add_partial_rotary(json, config);
    json["use_qkv_bias"] = config.qkv_bias;
    json["qk_layernorm"] = false;
    json["use_parallel_residual"] = config.parallel_residual;
}

void add_starcoder2(ordered_json& json, const ModelConfig& config) {
    json["use_bias"] = config.qkv_bias;
    add_window(json, config);
}

void add_nemotron(ordered_json& json, const ModelConfig& config) {
    add_biases(json, config);
    add_partial_rotary(json, config);
}

void add_ernie(ordered_json& json, const ModelConfig& config) {
    json["use_bias"] = config.qkv_bias;
}

void add_seed_oss(ordered_json& json, const ModelConfig& config) {
    add_biases(json, config);
    json["attention_out_bias"] = config.attention_output_bias;
}

void add_glm(ordered_json& json, const ModelConfig& config) {
    add_attention_bias(json, config);
    add_partial_rotary(json, config);
}

void add_gptj(ordered_json& json, const ModelConfig& config) {
    json = {{"architectures", json.at("architectures")}, {"model_type", json.at("model_type")}};
    json["n_layer"] = config.num_hidden_layers;
    json["n_head"] = config.num_attention_heads;
    json["n_embd"] = config.hidden_size;
    json["n_inner"] = config.intermediate_size;
    json["n_positions"] = config.max_position_embeddings;
    json["rotary_dim"] = config.rotary_dim();
    json["activation_function"] = "gelu_new";
    json["layer_norm_epsilon"] = config.norm_eps;
    json["attn_pdrop"] = config.dropout;
    json["embd_pdrop"] = config.dropout;
    json["resid_pdrop"] = config.dropout;
    json["initializer_range"] = 0.02;
}

constexpr std::array<FamilyClass, 22> kClasses = {{
    {{"gemma", "GemmaForCausalLM"}, "rms_norm_eps", add_gemma},
    {{"gemma2", "Gemma2ForCausalLM"}, "rms_norm_eps", add_gemma2},
    {{"gemma3_text", "Gemma3ForCausalLM"}, "rms_norm_eps", add_gemma3},
    {{"gpt_neox", "GPTNeoXForCausalLM"}, "layer_norm_eps", add_gpt_neox},
    {{"phi", "PhiForCausalLM"}, "layer_norm_eps", add_phi},
    {{"phi3", "Phi3ForCausalLM"}, "rms_norm_eps", add_phi3},
    {{"olmo2", "Olmo2ForCausalLM"}, "rms_norm_eps", add_attention_bias},
    {{"olmo3", "Olmo3ForCausalLM"}, "rms_norm_eps", add_olmo3},
    {{"granite", "GraniteForCausalLM"}, "rms_norm_eps", add_granite},
    {{"smollm3", "SmolLM3ForCausalLM"}, "rms_norm_eps", add_smollm3},
    {{"cohere", "CohereForCausalLM"}, "layer_norm_eps", add_cohere},
    {{"cohere2", "Cohere2ForCausalLM"}, "layer_norm_eps", add_cohere2},
    {{"stablelm", "StableLmForCausalLM"}, "layer_norm_eps", add_stablelm},
    {{"starcoder2", "Starcoder2ForCausalLM"}, "norm_epsilon", add_starcoder2},
    {{"nemotron", "NemotronForCausalLM"}, "norm_eps", add_nemotron},
    {{"exaone4", "Exaone4ForCausalLM"}, "rms_norm_eps", add_layer_types},
    {{"ernie4_5", "Ernie4_5ForCausalLM"}, "rms_norm_eps", add_ernie},
    {{"seed_oss", "SeedOssForCausalLM"}, "rms_norm_eps", add_seed_oss},
    {{"glm", "GlmForCausalLM"}, "rms_norm_eps", add_glm},
    {{"glm4", "Glm4ForCausalLM"}, "rms_norm_eps", add_glm},
    {{"arcee", "ArceeForCausalLM"}, "rms_norm_eps", add_biases},
    {{"gptj", "GPTJForCausalLM"}, "layer_norm_epsilon", add_gptj},
}};

const FamilyClass* find_class(const ModelConfig& config) {
    const auto* const found = std::find_if(
        kClasses.begin(), kClasses.end(),
        [&](const FamilyClass& entry) { return entry.names.model_type == config.model_type; });
    return found == kClasses.end() ? nullptr : found;
}

std::string_view activation_of(const ModelConfig& config) {
    switch (config.activation) {
        case Activation::silu: return "silu";
        case Activation::gelu: return "gelu";
        case Activation::gelu_tanh:
            return config.model_type == "phi" ? "gelu_new" : "gelu_pytorch_tanh";
        case Activation::relu: return "relu";
        case Activation::leaky_relu: return "leaky_relu";
        case Activation::relu_squared: return "relu2";
    }
    return "silu";
}

}  // namespace

void add_layer_types(ordered_json& json, const ModelConfig& config) {
    add_window(json, config);
    ordered_json types = ordered_json::array();
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
        types.push_back(config.is_window_layer(layer) ? "sliding_attention" : "full_attention");
    json["layer_types"] = types;
}

const HuggingFaceClass* family_class(const ModelConfig& config) {
    const FamilyClass* found = find_class(config);
    return found == nullptr ? nullptr : &found->names;
}

void add_family_keys(ordered_json& json, const ModelConfig& config) {
    const FamilyClass& target = *find_class(config);
    json["num_hidden_layers"] = config.num_hidden_layers;
    json["hidden_size"] = config.hidden_size;
    json["num_attention_heads"] = config.num_attention_heads;
    json["intermediate_size"] = config.intermediate_size;
    json["max_position_embeddings"] = config.max_position_embeddings;
    json["hidden_act"] = activation_of(config);
    json[std::string(target.eps_key)] = config.norm_eps;
    json["attention_dropout"] = config.dropout;
    json["initializer_range"] = 0.02;
    if (config.model_type != "gpt_neox") {
        json["num_key_value_heads"] = config.num_key_value_heads;
        json["rope_theta"] = config.rope_theta;
        if (config.head_dim * config.num_attention_heads != config.hidden_size ||
            config.model_type.starts_with("gemma") || config.model_type.starts_with("glm") ||
            config.model_type == "seed_oss" || config.model_type == "ernie4_5")
            json["head_dim"] = config.head_dim;
    }
    target.add(json, config);
}

}  // namespace isoflop::checkpoint
