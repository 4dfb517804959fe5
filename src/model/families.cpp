// One row per model type, after the configuration and model classes of transformers 4.57.
// tests/model/hf_cases.json checks every row against those classes.
#include "families.hpp"

#include <array>

namespace isoflop::model {
namespace {

constexpr std::array<Family, 10> kLlamaLike = {{
    {.model_type = "llama", .reads_attention_bias = true, .reads_mlp_bias = true},
    {.model_type = "mistral", .num_key_value_heads = 8, .window = WindowRule::every_layer},
    {.model_type = "qwen2",
     .qkv_bias = true,
     .num_key_value_heads = 32,
     .window = WindowRule::opt_in},
    {.model_type = "qwen3",
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .head_dim = 128,
     .num_key_value_heads = 32,
     .window = WindowRule::opt_in},
    {.model_type = "olmo2",
     .norm_position = NormPosition::post,
     .qk_norm = QkNorm::full_width,
     .reads_attention_bias = true,
     .norm_eps = 1e-5},
    {.model_type = "phi3",
     .naming = TensorNaming::phi3,
     .norm_eps = 1e-5,
     .max_position_embeddings = 4096,
     .window = WindowRule::every_layer},
    {.model_type = "gemma",
     .activation = Activation::gelu_tanh,
     .reads_attention_bias = true,
     .tied = true,
     .head_dim = 256,
     .num_key_value_heads = 16,
     .max_position_embeddings = 8192},
    {.model_type = "gemma2",
     .norm_position = NormPosition::sandwich,
     .activation = Activation::gelu_tanh,
     .reads_attention_bias = true,
     .tied = true,
     .head_dim = 256,
     .num_key_value_heads = 4,
     .max_position_embeddings = 8192,
     .window = WindowRule::alternating},
    {.model_type = "gemma3_text",
     .norm_position = NormPosition::sandwich,
     .activation = Activation::gelu_tanh,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .tied = true,
     .rope_theta = 1e6,
     .head_dim = 256,
     .num_key_value_heads = 4,
     .max_position_embeddings = 131072,
     .window = WindowRule::all_but_every_sixth},
    {.model_type = "mixtral",
     .naming = TensorNaming::mixtral,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .window = WindowRule::every_layer,
     .has_experts = true,
     .num_experts_per_token = 2},
}};

constexpr std::array<Family, 4> kGptLike = {{
    {.model_type = "gpt2",
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
     .naming = TensorNaming::mpt,
     .normalization = Normalization::layernorm_nobias,
     .position_encoding = PositionEncoding::alibi,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5},
    {.model_type = "gpt_neox",
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

constexpr std::array<Family, 3> kExpertFamilies = {{
    {.model_type = "qwen3_moe",
     .naming = TensorNaming::qwen3_moe,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .num_key_value_heads = 4,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in_all,
     .has_experts = true,
     .num_experts_per_token = 8},
    {.model_type = "deepseek_v2",
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .has_experts = true,
     .has_latent_attention = true},
    {.model_type = "deepseek_v3",
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .max_position_embeddings = 4096,
     .has_experts = true,
     .has_latent_attention = true,
     .num_experts_per_token = 8,
     .first_dense_layers = 3},
}};

constexpr auto all_families() {
    std::array<Family, kLlamaLike.size() + kGptLike.size() + kExpertFamilies.size()> all{};
    std::size_t next = 0;
    for (const Family& family : kLlamaLike) all[next++] = family;
    for (const Family& family : kGptLike) all[next++] = family;
    for (const Family& family : kExpertFamilies) all[next++] = family;
    return all;
}

constexpr auto kFamilies = all_families();

}  // namespace

std::span<const Family> families() {
    return kFamilies;
}

const Family* find_family(std::string_view model_type) {
    if (model_type == "kimi_k2") model_type = "deepseek_v3";
    for (const Family& family : kFamilies) {
        if (family.model_type == model_type) return &family;
    }
    return nullptr;
}

Family preset_family(ArchPreset preset) {
    Family family{.model_type = "llama", .norm_eps = 1e-5, .window = WindowRule::every_layer};
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
