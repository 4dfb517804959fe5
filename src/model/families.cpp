// One row per model type, after the configuration and model classes of transformers 4.57.
// tests/model/hf_cases.json checks every row against those classes.
#include "families.hpp"

#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "class_key_reader.hpp"

namespace isoflop::model {
namespace {

constexpr std::array<ClassDefault, 1> kMixtralDefaults = {{{"num_local_experts", 8}}};

constexpr std::array<std::string_view, 3> kGemma2Keys = {
    "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"};
constexpr std::array<std::string_view, 4> kGemma3Keys = {
    "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
    "rope_local_base_freq"};

/// Embeddings times sqrt(H), norms times 1 + weight.
void shape_gemma(const ClassKeys& /*keys*/, ModelConfig& config) {
    config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
    config.norms_add_one = true;
}

/// A key that is null switches the cap off.
std::optional<double> soft_cap(const ClassKeys& keys, std::string_view key,
                               std::optional<double> otherwise) {
    const config::Value* given = keys.find_or_null(key);
    if (given == nullptr) return otherwise;
    if (given->is_null()) return std::nullopt;
    const double cap = keys.number(key, 0);
    if (!(cap > 0)) keys.refuse(key, "a number > 0, or null");
    return cap;
}

void shape_gemma_head_scale(const ClassKeys& keys, ModelConfig& config) {
    const double scalar = keys.number("query_pre_attn_scalar", 256);
    if (!(scalar > 0)) keys.refuse("query_pre_attn_scalar", "a number > 0");
    config.attention_scale = 1 / std::sqrt(scalar);
}

void shape_gemma2(const ClassKeys& keys, ModelConfig& config) {
    shape_gemma(keys, config);
    shape_gemma_head_scale(keys, config);
    config.attention_soft_cap = soft_cap(keys, "attn_logit_softcapping", 50);
    config.final_logit_soft_cap = soft_cap(keys, "final_logit_softcapping", 30);
}

void shape_gemma3(const ClassKeys& keys, ModelConfig& config) {
    shape_gemma(keys, config);
    shape_gemma_head_scale(keys, config);
    config.attention_soft_cap = soft_cap(keys, "attn_logit_softcapping", std::nullopt);
    config.final_logit_soft_cap = soft_cap(keys, "final_logit_softcapping", std::nullopt);
    config.local_rope_theta = keys.number("rope_local_base_freq", 10000);
}

constexpr std::array<Family, 10> kLlamaLike = {{
    {.model_type = "llama",
     .sizes = {32, 4096, 32, 11008, 32000},
     .reads_attention_bias = true,
     .reads_mlp_bias = true},
    {.model_type = "mistral",
     .sizes = {32, 4096, 32, 14336, 32000},
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .sliding_window = 4096},
    {.model_type = "qwen2",
     .sizes = {32, 4096, 32, 22016, 151936},
     .qkv_bias = true,
     .num_key_value_heads = 32,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in},
    {.model_type = "qwen3",
     .sizes = {32, 4096, 32, 22016, 151936},
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .head_dim = 128,
     .num_key_value_heads = 32,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in},
    {.model_type = "olmo2",
     .sizes = {32, 4096, 32, 11008, 50304},
     .norm_position = NormPosition::post,
     .qk_norm = QkNorm::full_width,
     .reads_attention_bias = true,
     .norm_eps = 1e-5},
    {.model_type = "phi3",
     .sizes = {32, 3072, 32, 8192, 32064},
     .naming = TensorNaming::phi3,
     .norm_eps = 1e-5,
     .max_position_embeddings = 4096,
     .window = WindowRule::every_layer},
    {.model_type = "gemma",
     .sizes = {28, 3072, 16, 24576, 256000},
     .activation = Activation::gelu_tanh,
     .reads_attention_bias = true,
     .tied = true,
     .head_dim = 256,
     .num_key_value_heads = 16,
     .max_position_embeddings = 8192,
     .shape = shape_gemma},
    {.model_type = "gemma2",
     .sizes = {26, 2304, 8, 9216, 256000},
     .norm_position = NormPosition::sandwich,
     .activation = Activation::gelu_tanh,
     .reads_attention_bias = true,
     .tied = true,
     .head_dim = 256,
     .num_key_value_heads = 4,
     .max_position_embeddings = 8192,
     .window = WindowRule::alternating,
     .keys = kGemma2Keys,
     .shape = shape_gemma2},
    {.model_type = "gemma3_text",
     .sizes = {26, 2304, 8, 9216, 262208},
     .norm_position = NormPosition::sandwich,
     .activation = Activation::gelu_tanh,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .tied = true,
     .rope_theta = 1e6,
     .head_dim = 256,
     .num_key_value_heads = 4,
     .max_position_embeddings = 131072,
     .window = WindowRule::all_but_every_nth,
     .keys = kGemma3Keys,
     .shape = shape_gemma3},
    {.model_type = "mixtral",
     .sizes = {32, 4096, 32, 14336, 32000},
     .naming = TensorNaming::mixtral,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kMixtralDefaults},
}};

constexpr std::array<Family, 4> kGptLike = {{
    {.model_type = "gpt2",
     .sizes = {12, 768, 12, 0, 50257},
     .naming = TensorNaming::gpt2,
     .normalization = Normalization::layernorm,
     .position_encoding = PositionEncoding::learned_absolute,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .qkv_bias = true,
     .attention_output_bias = true,
     .ffn_bias = true,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5,
     .max_position_embeddings = 1024},
    // transformers' class and every released MPT have alibi and no biases; llm-foundry's defaults
    // (learned positions, biases) must be written in the file, as its configurations do.
    {.model_type = "mpt",
     .sizes = {24, 2048, 16, 0, 50368},
     .naming = TensorNaming::mpt,
     .normalization = Normalization::layernorm_nobias,
     .position_encoding = PositionEncoding::alibi,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5},
    {.model_type = "gpt_neox",
     .sizes = {44, 6144, 64, 24576, 50432},
     .naming = TensorNaming::gpt_neox,
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu,
     .qkv_bias = true,
     .attention_output_bias = true,
     .ffn_bias = true,
     .reads_attention_bias = true,
     .fused_heads = true,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.25},
    {.model_type = "bloom",
     .naming = TensorNaming::bloom,
     .normalization = Normalization::layernorm,
     .position_encoding = PositionEncoding::alibi,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .qkv_bias = true,
     .attention_output_bias = true,
     .ffn_bias = true,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5},
}};

constexpr std::array<ClassDefault, 2> kQwen3MoeDefaults = {
    {{"num_experts", 128}, {"moe_intermediate_size", 768}}};
constexpr std::array<ClassDefault, 8> kDeepSeekV3Defaults = {{{"n_routed_experts", 256},
                                                              {"n_shared_experts", 1},
                                                              {"moe_intermediate_size", 2048},
                                                              {"kv_lora_rank", 512},
                                                              {"q_lora_rank", 1536},
                                                              {"qk_rope_head_dim", 64},
                                                              {"qk_nope_head_dim", 128},
                                                              {"v_head_dim", 128}}};

constexpr std::array<Family, 3> kExpertFamilies = {{
    {.model_type = "qwen3_moe",
     .sizes = {24, 2048, 32, 6144, 151936},
     .naming = TensorNaming::qwen3_moe,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .num_key_value_heads = 4,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in_all,
     .has_experts = true,
     .num_experts_per_token = 8,
     .defaults = kQwen3MoeDefaults},
    {.model_type = "deepseek_v2",
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .has_experts = true,
     .has_latent_attention = true},
    {.model_type = "deepseek_v3",
     .sizes = {61, 7168, 128, 18432, 129280},
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .max_position_embeddings = 4096,
     .has_experts = true,
     .has_latent_attention = true,
     .num_experts_per_token = 8,
     .first_dense_layers = 3,
     .defaults = kDeepSeekV3Defaults},
}};

std::vector<Family> all_families() {
    std::vector<Family> all;
    for (const std::span<const Family> part :
         {std::span<const Family>(kLlamaLike), std::span<const Family>(kGptLike),
          std::span<const Family>(kExpertFamilies), dense_families(), gpt_families(),
          expert_families(), hybrid_families(), state_space_families()}) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

}  // namespace

std::span<const Family> families() {
    static const std::vector<Family> all = all_families();
    return all;
}

const Family* find_family(std::string_view model_type) {
    if (model_type == "kimi_k2") model_type = "deepseek_v3";
    for (const Family& family : families()) {
        if (family.model_type == model_type) return &family;
    }
    return nullptr;
}

Family preset_family(ArchPreset preset) {
    Family family{.model_type = "llama",
                  .sizes = {32, 4096, 32, 11008, 32000},
                  .norm_eps = 1e-5,
                  .window = WindowRule::every_layer};
    switch (preset) {
        case ArchPreset::llama:
        case ArchPreset::custom: break;
        case ArchPreset::qwen3:
            family.qk_norm = QkNorm::per_head;
            family.head_dim = 128;
            family.tied = true;
            break;
        case ArchPreset::gpt2:
            family.position_encoding = PositionEncoding::learned_absolute;
            [[fallthrough]];
        case ArchPreset::hybrid:
            family.normalization = Normalization::layernorm_nobias;
            family.ffn_type = FfnType::standard;
            family.activation = Activation::gelu;
            family.tied = true;
            break;
    }
    return family;
}

}  // namespace isoflop::model
