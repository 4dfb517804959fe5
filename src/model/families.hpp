// The choices of a model type or preset, before keys are applied.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "class_keys.hpp"
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
    /// All but every n-th layer, n = window_period, or as sliding_window_pattern says (Gemma-3).
    all_but_every_nth,
};

/// Defaults of a class for sizes that a file may leave out. 0: none, or derived from others.
struct ClassSizes {
    std::int64_t layers = 0;
    std::int64_t hidden = 0;
    std::int64_t heads = 0;
    std::int64_t ffn = 0;
    std::int64_t vocabulary = 0;
};

class ClassKeys;

/// One class of transformers: fixed choices, and defaults of keys that files omit.
struct Family {
    std::string_view model_type;
    ClassSizes sizes{};
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
    bool parallel_residual = false;
    bool shared_norm = false;
    bool fused_heads =
        false;  ///< the class has head_dim = hidden_size / heads and no grouped queries
    double norm_eps = 1e-6;
    double rope_theta = 10000.0;
    double local_rope_theta = 0;  ///< of window layers; 0: that of the others
    double rotary_fraction = 1;
    bool interleaved_rotary = false;
    std::int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
    std::int64_t num_key_value_heads = 0;  ///< 0: num_attention_heads
    std::int64_t max_position_embeddings = 2048;
    WindowRule window = WindowRule::none;
    std::int64_t sliding_window = 0;  ///< default of the class; 0: none
    std::int64_t window_period = 6;   ///< of all_but_every_nth
    bool has_experts = false;
    bool experts_are_optional = false;    ///< a file without num_experts has none
    bool experts_have_ffn_width = false;  ///< intermediate_size is the width of one expert
    bool has_latent_attention = false;
    std::int64_t num_experts_per_token = 0;  ///< 0: the key is required
    std::int64_t first_dense_layers = 0;
    bool rounds_head_dim_down = false;  ///< hidden_size need not be a multiple of the heads
    std::string_view ffn_width_key{};   ///< the class's other name of intermediate_size
    /// More sizes that a file may leave out.
    std::span<const ClassDefault> defaults{};
    /// Keys of the class that no other class has, or that describe the whole of it.
    std::span<const std::string_view> keys{};
    /// What those keys and the pattern of the layers make of the config, after all other keys.
    void (*shape)(const ClassKeys& keys, ModelConfig& config) = nullptr;
};

[[nodiscard]] std::span<const Family> families();
// Its parts, by what their layers have.
[[nodiscard]] std::span<const Family> dense_families();
[[nodiscard]] std::span<const Family> gpt_families();
[[nodiscard]] std::span<const Family> expert_families();
[[nodiscard]] std::span<const Family> hybrid_families();
[[nodiscard]] std::span<const Family> state_space_families();

/// nullptr when unknown. kimi_k2 is deepseek_v3.
[[nodiscard]] const Family* find_family(std::string_view model_type);

/// The choices (not the sizes) of a preset of this project, as the closest family.
[[nodiscard]] Family preset_family(ArchPreset preset);

}  // namespace isoflop::model
