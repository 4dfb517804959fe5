// The choices of a model type or preset, before keys are applied.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "isoflop/model/model_config.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::model {

/// How a model type uses its sliding_window.
enum class WindowRule {
    none,         ///< the class has no window
    every_layer,  ///< Mistral, Mixtral, Phi-3
    opt_in,       ///< Qwen2, Qwen3: with use_sliding_window, from layer max_window_layers on
    opt_in_all,   ///< Qwen3-MoE: with use_sliding_window, every layer
    alternating,  ///< Gemma-2: layers 0, 2, 4, ...
    all_but_every_sixth,  ///< Gemma-3, or as sliding_window_pattern says
};

/// One class of transformers: fixed choices, and defaults of keys that files omit.
struct Family {
    std::string_view model_type;
    TensorNaming naming = TensorNaming::llama;
    Normalization normalization = Normalization::rmsnorm;
    NormPosition norm_position = NormPosition::pre;
    PositionEncoding position_encoding = PositionEncoding::rope;
    FfnType ffn_type = FfnType::swiglu;
    Activation activation = Activation::silu;
    QkNorm qk_norm = QkNorm::none;
    bool qkv_bias = false;
    bool attention_output_bias = false;
    bool ffn_bias = false;
    bool reads_attention_bias = false;  ///< the class looks at the key attention_bias
    bool reads_mlp_bias = false;
    bool tied = false;
    bool fused_heads =
        false;  ///< the class has head_dim = hidden_size / heads and no grouped queries
    double norm_eps = 1e-6;
    double rope_theta = 10000.0;
    double rotary_fraction = 1;
    std::int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
    std::int64_t num_key_value_heads = 0;  ///< 0: num_attention_heads
    std::int64_t max_position_embeddings = 2048;
    WindowRule window = WindowRule::none;
    bool has_experts = false;
    bool has_latent_attention = false;
    std::int64_t num_experts_per_token = 0;  ///< 0: the key is required
    std::int64_t first_dense_layers = 0;
};

[[nodiscard]] std::span<const Family> families();

/// nullptr when unknown. kimi_k2 is deepseek_v3.
[[nodiscard]] const Family* find_family(std::string_view model_type);

/// The choices (not the sizes) of a preset of this project, as the closest family.
[[nodiscard]] Family preset_family(ArchPreset preset);

}  // namespace isoflop::model
