// The keys that describe a model in a file: Hugging Face's names, with those of nanoGPT, GPT-2,
// MPT, BLOOM and DeepSeek as aliases. One flat struct in which every key is optional;
// model_reader.hpp converts it to a ModelConfig. `add_model_fields` adds the keys to any schema, so
// that the same table serves a model file and the "architecture" section of a plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "isoflop/config/schema.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// Named starting points of this project, for files without Hugging Face's model_type.
enum class ArchPreset { llama, gpt2, qwen3, hybrid, custom };

struct ModelKeys {
    std::optional<std::string> model_type;
    std::optional<ArchPreset> arch_preset;
    std::optional<config::Value> architectures;

    // Sizes.
    std::optional<std::int64_t> hidden_size;
    std::optional<std::int64_t> num_hidden_layers;
    std::optional<std::int64_t> num_attention_heads;
    std::optional<std::int64_t> num_key_value_heads;
    std::optional<std::int64_t> head_dim;
    std::optional<std::int64_t> intermediate_size;
    std::optional<double> ffn_expansion_ratio;
    std::optional<std::int64_t> vocab_size;
    std::optional<std::int64_t> max_position_embeddings;
    std::optional<std::int64_t> n_ctx;

    // Choices of the block.
    std::optional<Normalization> normalization;
    std::optional<NormPosition> norm_position;
    std::optional<PositionEncoding> position_encoding;
    std::optional<FfnType> ffn_type;
    std::optional<Activation> hidden_act;
    std::optional<Activation> hidden_activation;
    std::optional<config::Value> qk_norm;
    std::optional<bool> bias;
    std::optional<bool> attention_bias;
    std::optional<bool> mlp_bias;
    std::optional<bool> tie_word_embeddings;
    std::optional<bool> use_parallel_residual;
    std::optional<double> norm_eps;
    std::optional<double> dropout;
    std::optional<bool> use_flash_attention;

    // Positions and windows.
    std::optional<double> rope_theta;
    std::optional<double> partial_rotary_factor;
    std::optional<config::Value> rope_scaling;
    std::optional<config::Value> rope_parameters;
    std::optional<std::int64_t> sliding_window;
    std::optional<bool> use_sliding_window;
    std::optional<std::int64_t> sliding_window_pattern;
    std::optional<std::int64_t> max_window_layers;
    std::optional<config::Value> layer_types;

    // Mixture of experts.
    std::optional<std::int64_t> num_experts;
    std::optional<std::int64_t> num_experts_per_tok;
    std::optional<std::int64_t> moe_intermediate_size;
    std::optional<std::int64_t> n_shared_experts;
    std::optional<std::int64_t> first_k_dense_replace;
    std::optional<std::int64_t> moe_layer_freq;
    std::optional<std::int64_t> decoder_sparse_step;
    std::optional<config::Value> mlp_only_layers;

    // Latent attention.
    std::optional<std::int64_t> q_lora_rank;
    std::optional<std::int64_t> kv_lora_rank;
    std::optional<std::int64_t> qk_nope_head_dim;
    std::optional<std::int64_t> qk_rope_head_dim;
    std::optional<std::int64_t> v_head_dim;

    // MPT (llm-foundry's configuration).
    std::optional<config::Value> attn_config;
    std::optional<config::Value> ffn_config;
    std::optional<bool> no_bias;
    std::optional<bool> learned_pos_emb;
    std::optional<std::string> norm_type;

    // GPT-2.
    std::optional<bool> add_cross_attention;

    /// An object of the keys that only the class of model_type has, as in its files.
    std::optional<config::Value> class_keys;

    /// Written for Hugging Face's loader: such files contain keys that have no effect here.
    [[nodiscard]] bool is_hugging_face() const { return model_type || architectures; }
};

/// A file that describes only a model: config.json, configs/models/*.jsonc.
struct ModelFile {
    ModelKeys keys;
};

/// The schema of such a file.
[[nodiscard]] const config::Schema<ModelFile>& model_schema();

}  // namespace isoflop::model

namespace isoflop {
template <>
inline constexpr auto enum_names<model::ArchPreset> =
    std::to_array<EnumName<model::ArchPreset>>({{model::ArchPreset::llama, "llama"},
                                                {model::ArchPreset::llama, "team"},
                                                {model::ArchPreset::gpt2, "gpt2"},
                                                {model::ArchPreset::gpt2, "legacy"},
                                                {model::ArchPreset::qwen3, "qwen3"},
                                                {model::ArchPreset::hybrid, "hybrid"},
                                                {model::ArchPreset::custom, "custom"}});
}  // namespace isoflop
