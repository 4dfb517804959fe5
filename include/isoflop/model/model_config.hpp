// The architecture of a decoder-only language model as a set of choices. Planner and trainer share
// it: the planner costs every combination, the trainer runs those it implements.
//
// Symbols used throughout: L layers, H hidden_size, F intermediate_size, V vocab_size, a query
// heads, g key/value heads, d head_dim, S sequence length, B batch, E routed experts, k experts per
// token.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/base/enum_names.hpp"

namespace isoflop::model {

/// Largest accepted sizes: far above every published model, and low enough that no product of them
/// in this code can overflow (a matrix has at most 2^52 elements).
namespace limits {
inline constexpr std::int64_t kLayers = 1 << 16;
inline constexpr std::int64_t kWidth = 1 << 24;      ///< H, F, ranks
inline constexpr std::int64_t kHeads = 1 << 16;      ///< a, g
inline constexpr std::int64_t kHeadDim = 1 << 16;    ///< d, and the head sizes of latent attention
inline constexpr std::int64_t kHeadWidth = 1 << 26;  ///< a * d
inline constexpr std::int64_t kVocabulary = 1 << 28;
inline constexpr std::int64_t kPositions = std::int64_t{1} << 32;
inline constexpr std::int64_t kExperts = 1 << 20;
inline constexpr double kParameters = 1e17;  ///< of a whole model; 6 N still fits an std::int64_t
}  // namespace limits

enum class Normalization { rmsnorm, layernorm, layernorm_nobias };
enum class NormPosition {
    pre,       ///< x + f(norm(x))
    post,      ///< norm(x + f(x)), or x + norm(f(x)) in OLMo-2: the same parameters and FLOPs
    sandwich,  ///< x + norm(f(norm(x))): four norms per block (Gemma-2)
};
enum class PositionEncoding { rope, learned_absolute, alibi, none };
enum class FfnType { swiglu, standard };  ///< gated (3 matrices) or plain (2 matrices)
enum class Activation { silu, gelu, gelu_tanh, relu, leaky_relu, relu_squared };
enum class QkNorm {
    none,
    per_head,    ///< one weight of head_dim each for q and k (Qwen3)
    full_width,  ///< weights of a*d and g*d (OLMo-2)
    every_head,  ///< weights of d for each head, a and g of them (Cohere, StableLM)
    unweighted,  ///< a norm without weights (LLaMA 4)
};
/// How tensors are named and fused in Hugging Face checkpoints of this model type.
enum class TensorNaming {
    llama,
    phi3,
    gpt2,
    mpt,
    gpt_neox,
    bloom,
    mixtral,
    qwen3_moe,
    deepseek,
    gpt_oss,
    qwen2_moe,
    qwen3_next,
    qwen3_5,
    llama4,
    glm4,
    minimax,
    phi,
    phimoe,
    granitemoe,
    falcon,
    starcoder2,
    gpt_bigcode,
    gptj,
    gpt_neo,
    opt,
    ernie4_5_moe,
    hunyuan,
    internlm2,
    baichuan,
    gemma3n,
    stablelm,
    mamba,
    jamba,
    falcon_h1,
    nemotron_h,
    lfm2,
};

struct MixtureOfExperts {
    std::int64_t num_experts = 0;            ///< E, routed
    std::int64_t num_experts_per_token = 0;  ///< k
    std::int64_t intermediate_size = 0;      ///< F of one routed expert
    /// Always active, each of a routed expert's size; stored as one FFN of their summed width.
    std::int64_t num_shared_experts = 0;
    /// Of that FFN where the file says it (Qwen2-MoE, LLaMA 4); 0: the sum of its experts.
    std::int64_t shared_intermediate_size = 0;
    bool shared_expert_gate = false;  ///< H values that weigh the shared experts (Qwen2-MoE)
    // Layer i is a mixture when i >= first_dense_layers, (i + layer_offset) is a multiple of
    // layer_frequency and i is not among dense_layers. The others have a dense FFN of
    // ModelConfig::intermediate_size.
    std::int64_t first_dense_layers = 0;  ///< DeepSeek: first_k_dense_replace
    std::int64_t layer_frequency = 1;     ///< DeepSeek: moe_layer_freq; Qwen3: decoder_sparse_step
    std::int64_t layer_offset = 0;        ///< DeepSeek counts layers from 0, Qwen3 from 1
    std::vector<std::int64_t> dense_layers;  ///< Qwen3: mlp_only_layers, ascending
    bool router_bias = false;      ///< E values added to the scores (DeepSeek-V3, GPT-OSS)
    bool expert_bias = false;      ///< biases of the routed experts (GPT-OSS)
    std::int64_t latent_size = 0;  ///< width in which the routed experts work (Nemotron-H); 0: H

    [[nodiscard]] std::int64_t shared_width() const {
        return shared_intermediate_size > 0 ? shared_intermediate_size
                                            : num_shared_experts * intermediate_size;
    }
};

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
struct LatentAttention {
    std::optional<std::int64_t> q_lora_rank;  ///< nullopt: queries are projected directly (V2-Lite)
    std::int64_t kv_lora_rank = 0;
    std::int64_t qk_nope_head_dim = 0;
    std::int64_t qk_rope_head_dim = 0;
    std::int64_t v_head_dim = 0;
};

/// Mixers that carry a state along the sequence, in place of attention or beside it. Their cost per
/// token does not depend on S.
enum class RecurrenceKind {
    mamba,             ///< selective state space (Gu and Dao, arXiv 2312.00752)
    mamba2,            ///< with one decay a head (Dao and Gu, arXiv 2405.21060)
    gated_delta_net,   ///< Yang et al., arXiv 2412.06464 (Qwen3-Next)
    lightning,         ///< linear attention with fixed decay (MiniMax-01, arXiv 2501.08313)
    short_convolution  ///< gated convolution without further state (LFM2)
};

struct Recurrence {
    RecurrenceKind kind = RecurrenceKind::mamba2;
    std::int64_t num_heads = 1;   ///< of values; 1 for mamba and short_convolution
    std::int64_t head_dim = 0;    ///< of values; the inner width is num_heads * head_dim
    std::int64_t num_groups = 1;  ///< heads that read one key (mamba2: one B and C)
    std::int64_t state_size = 0;  ///< width of keys and queries (of B and C)
    std::int64_t conv_kernel = 0;
    std::int64_t time_step_rank = 0;  ///< mamba
    bool conv_bias = false;
    bool projection_bias = false;  ///< of in_proj
    bool output_bias = false;
    bool has_norm = true;          ///< before the output projection (mamba2)
    bool splits_inputs = false;    ///< four input projections in place of two (Qwen3.5)
    bool norms_time_step = false;  ///< norms of the time step, B and C (Jamba)

    [[nodiscard]] std::int64_t inner_width() const { return num_heads * head_dim; }
    [[nodiscard]] std::int64_t key_width() const { return num_groups * state_size; }
    /// Of all projections of the layer's input together.
    [[nodiscard]] std::int64_t input_width() const;
    /// Channels that the convolution before the state mixes along the sequence.
    [[nodiscard]] std::int64_t conv_channels() const;
    /// Multiply-adds of one token in the state: its update and what is read from it.
    [[nodiscard]] std::int64_t state_multiply_adds() const;
};

enum class FfnKind : std::uint8_t { none, dense, mixture };

/// What one layer is made of.
struct LayerKind {
    bool attention = true;
    bool recurrence = false;  ///< ModelConfig::recurrence; beside attention in Falcon-H1
    FfnKind ffn = FfnKind::dense;
    bool window = false;       ///< attention sees ModelConfig::sliding_window keys
    bool rotary = true;        ///< rotary positions in the attention (SmolLM3, LLaMA 4: not in all)
    bool reuses_keys = false;  ///< keys and values of an earlier layer (Gemma-3n)
    std::int64_t ffn_width = 0;  ///< of the dense network; 0: ModelConfig::intermediate_size

    friend bool operator==(const LayerKind&, const LayerKind&) = default;
    /// The same tensors.
    [[nodiscard]] bool has_tensors_of(const LayerKind& other) const {
        return attention == other.attention && recurrence == other.recurrence && ffn == other.ffn &&
               reuses_keys == other.reuses_keys && ffn_width == other.ffn_width;
    }
};

/// Layers of one kind.
struct LayerGroup {
    LayerKind kind;
    std::vector<std::int64_t> layers;  ///< ascending
    [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(layers.size()); }
};

/// Gemma-3n (transformers' Gemma3nTextModel): several residual streams, low-rank residuals, and an
/// embedding for each layer.
struct AlternatingUpdates {
    std::int64_t num_streams = 0;            ///< altup_num_inputs
    std::int64_t laurel_rank = 0;            ///< of the low-rank residual beside attention
    std::int64_t vocab_size_per_layer = 0;   ///< vocab_size_per_layer_input
    std::int64_t hidden_size_per_layer = 0;  ///< hidden_size_per_layer_input
};

/// Llama-3 frequency scaling ("rope_type": "llama3"); other types are kept by name and refused by
/// the trainer.
struct RopeScaling {
    std::string type;
    double factor = 1;
    double low_freq_factor = 1;
    double high_freq_factor = 4;
    std::int64_t original_max_position_embeddings = 8192;
};

struct ModelConfig {
    /// Hugging Face's model type; "custom" when no class of transformers has this block.
    std::string model_type = "llama";
    std::string preset = "llama";  ///< the starting point: arch_preset or model_type
    TensorNaming naming = TensorNaming::llama;

    std::int64_t num_hidden_layers = 0;
    std::int64_t hidden_size = 0;
    std::int64_t num_attention_heads = 0;
    std::int64_t num_key_value_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t intermediate_size = 0;
    std::int64_t vocab_size = 0;
    std::int64_t max_position_embeddings = 0;

    Normalization normalization = Normalization::rmsnorm;
    NormPosition norm_position = NormPosition::pre;
    PositionEncoding position_encoding = PositionEncoding::rope;
    FfnType ffn_type = FfnType::swiglu;
    Activation activation = Activation::silu;
    QkNorm qk_norm = QkNorm::none;
    bool qkv_bias = false;
    bool attention_output_bias = false;
    bool ffn_bias = false;  ///< experts included (only DeepSeek-V2 with mlp_bias has both)
    bool tie_word_embeddings = false;
    bool embedding_norm = false;     ///< a norm right after the embedding (BLOOM)
    bool parallel_residual = false;  ///< attention and FFN read the same input (GPT-NeoX)
    bool shared_norm = false;        ///< then: and the same norm of it (GPT-J, Phi, Cohere)
    bool final_norm = true;          ///< before the LM head; OPT-350m has none
    /// Width of the token embedding where it is projected to hidden_size (OPT-350m); 0: equal.
    std::int64_t embedding_width = 0;
    bool lm_head_bias = false;     ///< GPT-J, Phi
    bool attention_gate = false;   ///< a*d more outputs of q_proj gate the heads (Qwen3-Next)
    bool attention_sinks = false;  ///< one learned logit a head (GPT-OSS)

    std::optional<MixtureOfExperts> moe;
    std::optional<LatentAttention> mla;
    std::optional<Recurrence> recurrence;
    std::optional<AlternatingUpdates> alternating_updates;
    /// Of every layer, where they follow from a list or a pattern of the class; else empty, and the
    /// rules of `moe` and of the window hold.
    std::vector<LayerKind> layers;
    /// Windows are aligned chunks of this model's sliding_window tokens (LLaMA 4).
    bool chunked_windows = false;
    /// Lightning indexer of DeepSeek-V3.2: queries see its best keys only; 0: none.
    std::int64_t index_heads = 0, index_head_dim = 0, index_top_k = 0;

    /// Attention window in tokens; applies to every `sliding_window_period`-th layer from
    /// `sliding_window_first_layer` on (Mistral: all; Gemma-2: 0, 2, 4, ...; Qwen2: from
    /// max_window_layers on).
    std::optional<std::int64_t> sliding_window;
    std::int64_t sliding_window_period = 1;
    std::int64_t sliding_window_first_layer = 0;
    /// Every n-th layer has full attention all the same (Gemma-3: 6); 0: none.
    std::int64_t full_attention_period = 0;

    double norm_eps = 1e-5;
    double rope_theta = 10000.0;
    double rotary_fraction = 1;  ///< share of head_dim that is rotated (GPT-NeoX: rotary_pct)
    std::optional<RopeScaling> rope_scaling;
    double dropout = 0;

    // Factors and limits that change values, not sizes.
    std::optional<double> local_rope_theta;      ///< of window layers (Gemma-3)
    std::optional<double> attention_scale;       ///< in place of 1 / sqrt(head_dim)
    std::optional<double> attention_soft_cap;    ///< cap * tanh(score / cap) (Gemma-2)
    std::optional<double> final_logit_soft_cap;  ///< of the logits (Gemma-2)
    double embedding_scale = 1;                  ///< Gemma: sqrt(H); Granite
    double residual_scale = 1;                   ///< of both branches (Granite)
    double logit_scale = 1;                      ///< Granite (1 / logits_scaling), Cohere
    bool norms_add_one = false;                  ///< norms scale by 1 + weight (Gemma)
    bool interleaved_rotary = false;             ///< pairs of neighbours (GPT-J, Cohere)

    /// Values of one head that the rotary embedding rotates: int(head_dim * rotary_fraction),
    /// latent: qk_rope_head_dim.
    [[nodiscard]] std::int64_t rotary_dim() const;
    /// Width of the concatenated query heads (a*d; with latent attention a*(d_nope + d_rope)).
    [[nodiscard]] std::int64_t query_width() const;
    /// Width of keys (or values) of all key/value heads, g*d. Not for latent attention.
    [[nodiscard]] std::int64_t key_value_width() const { return num_key_value_heads * head_dim; }
    /// Width of the attention output that the output projection reads (a*d; latent: a*d_v).
    [[nodiscard]] std::int64_t attention_output_width() const;
    /// Width of the rows of the token embedding and of the LM head.
    [[nodiscard]] std::int64_t vocabulary_width() const {
        return embedding_width > 0 ? embedding_width : hidden_size;
    }
    [[nodiscard]] bool is_gated() const { return ffn_type == FfnType::swiglu; }
    [[nodiscard]] LayerKind layer_kind(std::int64_t layer) const;
    /// Kinds of layers in the order in which they first occur.
    [[nodiscard]] std::vector<LayerGroup> layer_groups() const;
    [[nodiscard]] std::int64_t num_attention_layers() const;
    /// This model with another number of layers; a list of layers is stretched.
    void resize_layers(std::int64_t count);
    [[nodiscard]] bool is_moe_layer(std::int64_t layer) const;
    [[nodiscard]] std::int64_t num_moe_layers() const;
    /// With a dense feed-forward network.
    [[nodiscard]] std::int64_t num_dense_layers() const;
    [[nodiscard]] bool is_window_layer(std::int64_t layer) const;
    [[nodiscard]] std::int64_t num_window_layers() const;
};

/// Checks that sizes are positive, within limits (no product used here can overflow) and divide as
/// required. Returns the message of the first violation, naming key and value; empty when
/// consistent.
[[nodiscard]] std::string find_inconsistency(const ModelConfig& config);

}  // namespace isoflop::model

namespace isoflop {
template <>
inline constexpr auto enum_names<model::Normalization> =
    std::to_array<EnumName<model::Normalization>>({{model::Normalization::rmsnorm, "rmsnorm"},
                                                   {model::Normalization::layernorm, "layernorm"},
                                                   {model::Normalization::layernorm_nobias,
                                                    "layernorm_nobias"}});
template <>
inline constexpr auto enum_names<model::NormPosition> =
    std::to_array<EnumName<model::NormPosition>>({{model::NormPosition::pre, "pre"},
                                                  {model::NormPosition::post, "post"},
                                                  {model::NormPosition::sandwich, "sandwich"}});
template <>
inline constexpr auto enum_names<model::PositionEncoding> =
    std::to_array<EnumName<model::PositionEncoding>>({{model::PositionEncoding::rope, "rope"},
                                                      {model::PositionEncoding::learned_absolute,
                                                       "learned_absolute"},
                                                      {model::PositionEncoding::alibi, "alibi"},
                                                      {model::PositionEncoding::none, "none"}});
template <>
inline constexpr auto enum_names<model::FfnType> = std::to_array<EnumName<model::FfnType>>(
    {{model::FfnType::swiglu, "swiglu"}, {model::FfnType::standard, "standard"}});
template <>
inline constexpr auto enum_names<model::Activation> =
    std::to_array<EnumName<model::Activation>>({{model::Activation::silu, "silu"},
                                                {model::Activation::silu, "swish"},
                                                {model::Activation::gelu, "gelu"},
                                                {model::Activation::gelu_tanh, "gelu_tanh"},
                                                {model::Activation::gelu_tanh, "gelu_new"},
                                                {model::Activation::gelu_tanh, "gelu_pytorch_tanh"},
                                                {model::Activation::gelu_tanh, "gelu_fast"},
                                                {model::Activation::relu, "relu"},
                                                {model::Activation::leaky_relu, "leaky_relu"},
                                                {model::Activation::relu_squared, "relu_squared"},
                                                {model::Activation::relu_squared, "relu2"}});
template <>
inline constexpr auto enum_names<model::RecurrenceKind> =
    std::to_array<EnumName<model::RecurrenceKind>>(
        {{model::RecurrenceKind::mamba, "mamba"},
         {model::RecurrenceKind::mamba2, "mamba2"},
         {model::RecurrenceKind::gated_delta_net, "gated_delta_net"},
         {model::RecurrenceKind::lightning, "lightning_attention"},
         {model::RecurrenceKind::short_convolution, "short_convolution"}});
template <>
inline constexpr auto enum_names<model::QkNorm> =
    std::to_array<EnumName<model::QkNorm>>({{model::QkNorm::none, "none"},
                                            {model::QkNorm::per_head, "per_head"},
                                            {model::QkNorm::full_width, "full_width"},
                                            {model::QkNorm::every_head, "every_head"},
                                            {model::QkNorm::unweighted, "unweighted"}});
}  // namespace isoflop
