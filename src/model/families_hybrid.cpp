// Models with linear attention or convolutions in some of their layers, and Gemma-3n, after the
// classes of transformers 5.
#include <algorithm>
#include <array>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "layer_patterns.hpp"

namespace isoflop::model {
namespace {

using Key = std::string_view;

constexpr Key kDeltaNetKeys[] = {"linear_conv_kernel_dim",
                                 "linear_key_head_dim",
                                 "linear_value_head_dim",
                                 "linear_num_key_heads",
                                 "linear_num_value_heads",
                                 "full_attention_interval",
                                 "attn_output_gate",
                                 "num_experts",
                                 "num_local_experts",
                                 "num_experts_per_tok",
                                 "shared_expert_intermediate_size",
                                 "decoder_sparse_step",
                                 "mlp_only_layers",
                                 "norm_topk_prob",
                                 "attention_bias",
                                 "mamba_ssm_dtype",
                                 "mtp_num_hidden_layers",
                                 "mtp_use_dedicated_embeddings"};
constexpr std::array<ClassDefault, 2> kQwen3NextDefaults = {
    {{"num_experts", 512}, {"moe_intermediate_size", 512}}};
constexpr std::array<ClassDefault, 2> kQwen35MoeDefaults = {
    {{"num_experts", 256}, {"moe_intermediate_size", 512}}};

/// Gated delta nets, with gated attention in every fourth layer.
void shape_delta_net(const ClassKeys& keys, ModelConfig& config) {
    if (!keys.flag("attn_output_gate", true)) keys.refuse("attn_output_gate", "true");
    config.attention_gate = true;
    config.norms_add_one = true;
    config.recurrence = Recurrence{.kind = RecurrenceKind::gated_delta_net,
                                   .num_heads = keys.integer("linear_num_value_heads", 32),
                                   .head_dim = keys.integer("linear_value_head_dim", 128),
                                   .num_groups = keys.integer("linear_num_key_heads", 16),
                                   .state_size = keys.integer("linear_key_head_dim", 128),
                                   .conv_kernel = keys.integer("linear_conv_kernel_dim", 4)};
    if (config.moe) {
        config.moe->shared_intermediate_size = keys.integer("shared_expert_intermediate_size", 512);
        config.moe->shared_expert_gate = true;
        config.moe->layer_frequency = keys.common().decoder_sparse_step.value_or(1);
        config.moe->layer_offset = 1;
    }
    const std::int64_t interval = keys.integer("full_attention_interval", 4);
    if (interval < 1) keys.refuse("full_attention_interval", "at least 1");
    config.layers = mixers_by_list(keys, config,
                                   [&](std::int64_t layer) { return (layer + 1) % interval == 0; });
}

void shape_qwen3_5(const ClassKeys& keys, ModelConfig& config) {
    // Every layer of a mixture is one; there is no dense network.
    if (config.moe) config.intermediate_size = config.moe->intermediate_size;
    shape_delta_net(keys, config);
    config.recurrence->splits_inputs = true;
}

constexpr Key kMiniMaxKeys[] = {
    "num_local_experts",       "num_experts",           "num_experts_per_tok",
    "full_attn_alpha_factor",  "full_attn_beta_factor", "linear_attn_alpha_factor",
    "linear_attn_beta_factor", "mlp_alpha_factor",      "mlp_beta_factor",
    "router_jitter_noise",     "sliding_window"};
constexpr std::array<ClassDefault, 1> kMiniMaxDefaults = {{{"num_local_experts", 8}}};

void shape_minimax(const ClassKeys& keys, ModelConfig& config) {
    config.recurrence = Recurrence{.kind = RecurrenceKind::lightning,
                                   .num_heads = config.num_attention_heads,
                                   .head_dim = config.head_dim,
                                   .num_groups = config.num_attention_heads,
                                   .state_size = config.head_dim};
    config.layers = mixers_by_list(keys, config, [](std::int64_t layer) { return layer % 2 == 0; });
    for (LayerKind& layer : config.layers)
        layer.window = layer.attention && config.sliding_window.has_value();
}

constexpr Key kLfm2Keys[] = {"norm_eps",
                             "conv_bias",
                             "conv_L_cache",
                             "block_multiple_of",
                             "block_ffn_dim_multiplier",
                             "block_auto_adjust_ff_dim",
                             "full_attn_idxs",
                             "tie_embedding",
                             "block_ff_dim",
                             "block_norm_eps",
                             "layer_types",
                             "block_use_swiglu",
                             "use_pos_enc"};

/// Gated short convolutions of hidden_size channels, with attention in some layers.
void shape_short_convolution(const ClassKeys& keys, ModelConfig& config) {
    config.tie_word_embeddings = keys.flag("tie_embedding", config.tie_word_embeddings);
    config.recurrence = Recurrence{.kind = RecurrenceKind::short_convolution,
                                   .num_heads = 1,
                                   .head_dim = config.hidden_size,
                                   .conv_kernel = keys.integer("conv_L_cache", 3),
                                   .conv_bias = keys.flag("conv_bias", false),
                                   .projection_bias = keys.flag("conv_bias", false)};
    config.recurrence->output_bias = config.recurrence->projection_bias;
    const auto attention = keys.integers("full_attn_idxs");
    config.layers = mixers_by_list(keys, config, [&](std::int64_t layer) {
        return !attention ||
               std::find(attention->begin(), attention->end(), layer) != attention->end();
    });
}

void shape_lfm2(const ClassKeys& keys, ModelConfig& config) {
    if (keys.flag("block_auto_adjust_ff_dim", true)) {
        const std::int64_t given = config.intermediate_size;
        const double scale = keys.number("block_ffn_dim_multiplier", 1);
        const std::int64_t multiple = keys.integer("block_multiple_of", 256);
        if (multiple < 1 || multiple > limits::kWidth) keys.refuse("block_multiple_of", "positive");
        if (!(scale > 0 && scale < 1024)) keys.refuse("block_ffn_dim_multiplier", "positive");
        const double adjusted =
            scale *
            static_cast<double>(static_cast<std::int64_t>(2.0 * static_cast<double>(given) / 3));
        const auto width = static_cast<std::int64_t>(adjusted);
        config.intermediate_size = (width + multiple - 1) / multiple * multiple;
    }
    shape_short_convolution(keys, config);
}

constexpr Key kLfm2MoeKeys[] = {"norm_eps",          "conv_bias",           "conv_L_cache",
                                "num_dense_layers",  "use_expert_bias",     "num_experts",
                                "num_local_experts", "num_experts_per_tok", "tie_embedding",
                                "layer_types"};
constexpr std::array<ClassDefault, 2> kLfm2MoeDefaults = {
    {{"num_experts", 32}, {"moe_intermediate_size", 1792}}};

void shape_lfm2_moe(const ClassKeys& keys, ModelConfig& config) {
    if (config.moe) {
        config.moe->first_dense_layers = keys.integer("num_dense_layers", 2);
        config.moe->router_bias = keys.flag("use_expert_bias", true);
    }
    shape_short_convolution(keys, config);
}

constexpr Key kGemma3nKeys[] = {"vocab_size_per_layer_input",
                                "hidden_size_per_layer_input",
                                "altup_active_idx",
                                "altup_coef_clip",
                                "altup_correct_scale",
                                "altup_num_inputs",
                                "num_kv_shared_layers",
                                "laurel_rank",
                                "activation_sparsity_pattern",
                                "final_logit_softcapping",
                                "rope_local_base_freq",
                                "intermediate_size"};

/// The last layers use the keys and values of earlier ones, and widths may be listed.
void shape_gemma3n_layers(const ClassKeys& keys, ModelConfig& config) {
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all_but_every_nth, 5);
    const auto count = static_cast<std::int64_t>(config.layers.size());
    const std::int64_t shared = keys.integer("num_kv_shared_layers", 15);
    if (shared < 0 || shared >= std::max<std::int64_t>(count, 1))
        keys.refuse("num_kv_shared_layers", "less than the number of layers");
    const std::vector<std::int64_t> widths =
        keys.integers("intermediate_size").value_or(std::vector<std::int64_t>{});
    if (!widths.empty() && static_cast<std::int64_t>(widths.size()) != count)
        keys.refuse("intermediate_size", "a list with one entry a layer");
    if (!widths.empty()) config.intermediate_size = *std::max_element(widths.begin(), widths.end());
    for (std::int64_t layer = 0; layer < count; ++layer) {
        LayerKind& kind = config.layers[static_cast<std::size_t>(layer)];
        kind.reuses_keys = layer >= count - shared;
        if (widths.empty()) continue;
        const std::int64_t width = widths[static_cast<std::size_t>(layer)];
        if (width < 1 || width > limits::kWidth)
            keys.refuse("intermediate_size", "positive widths");
        kind.ffn_width = width == config.intermediate_size ? 0 : width;
    }
}

void shape_gemma3n(const ClassKeys& keys, ModelConfig& config) {
    config.alternating_updates = AlternatingUpdates{
        .num_streams = keys.integer("altup_num_inputs", 4),
        .laurel_rank = keys.integer("laurel_rank", 64),
        .vocab_size_per_layer = keys.integer("vocab_size_per_layer_input", 262144),
        .hidden_size_per_layer = keys.integer("hidden_size_per_layer_input", 256)};
    const AlternatingUpdates& updates = *config.alternating_updates;
    constexpr std::int64_t kMostStreams = 64;
    if (updates.num_streams < 1 || updates.num_streams > kMostStreams)
        keys.refuse("altup_num_inputs", "from 1 to 64");
    const auto check = [&](Key key, std::int64_t value, std::int64_t most) {
        if (value < 1 || value > most) keys.refuse(key, "positive and within the limits");
    };
    check("laurel_rank", updates.laurel_rank, limits::kWidth);
    check("vocab_size_per_layer_input", updates.vocab_size_per_layer, limits::kVocabulary);
    check("hidden_size_per_layer_input", updates.hidden_size_per_layer, limits::kHeadDim);
    shape_gemma3n_layers(keys, config);
}

constexpr Family kFamilies[] = {
    {.model_type = "gemma3n_text",
     .sizes = {35, 2048, 8, 16384, 262400},
     .norm_position = NormPosition::sandwich,
     .activation = Activation::gelu_tanh,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .tied = true,
     .rope_theta = 1e6,
     .local_rope_theta = 10000,
     .head_dim = 256,
     .num_key_value_heads = 2,
     .max_position_embeddings = 32768,
     .window = WindowRule::every_layer,
     .sliding_window = 512,
     .keys = kGemma3nKeys,
     .shape = shape_gemma3n},
    {.model_type = "qwen3_next",
     .sizes = {48, 2048, 16, 5632, 151936},
     .naming = TensorNaming::qwen3_next,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .rotary_fraction = 0.25,
     .head_dim = 256,
     .num_key_value_heads = 2,
     .max_position_embeddings = 32768,
     .has_experts = true,
     .num_experts_per_token = 10,
     .defaults = kQwen3NextDefaults,
     .keys = kDeltaNetKeys,
     .shape = shape_delta_net},
    {.model_type = "qwen3_5_text",
     .sizes = {32, 4096, 16, 12288, 248320},
     .naming = TensorNaming::qwen3_5,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .rotary_fraction = 0.25,
     .head_dim = 256,
     .num_key_value_heads = 4,
     .max_position_embeddings = 32768,
     .keys = kDeltaNetKeys,
     .shape = shape_qwen3_5},
    {.model_type = "qwen3_5_moe_text",
     .sizes = {40, 2048, 16, 0, 248320},
     .naming = TensorNaming::qwen3_5,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .rotary_fraction = 0.25,
     .head_dim = 256,
     .num_key_value_heads = 2,
     .max_position_embeddings = 32768,
     .has_experts = true,
     .num_experts_per_token = 8,
     .defaults = kQwen35MoeDefaults,
     .keys = kDeltaNetKeys,
     .shape = shape_qwen3_5},
    {.model_type = "minimax",
     .sizes = {32, 4096, 32, 14336, 32000},
     .naming = TensorNaming::minimax,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kMiniMaxDefaults,
     .keys = kMiniMaxKeys,
     .shape = shape_minimax},
    {.model_type = "lfm2",
     .sizes = {32, 2560, 32, 12288, 65536},
     .naming = TensorNaming::lfm2,
     .qk_norm = QkNorm::per_head,
     .tied = true,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .max_position_embeddings = 128000,
     .ffn_width_key = "block_ff_dim",
     .keys = kLfm2Keys,
     .shape = shape_lfm2},
    {.model_type = "lfm2_moe",
     .sizes = {32, 2048, 32, 7168, 65536},
     .naming = TensorNaming::lfm2,
     .qk_norm = QkNorm::per_head,
     .tied = true,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .max_position_embeddings = 128000,
     .has_experts = true,
     .num_experts_per_token = 4,
     .defaults = kLfm2MoeDefaults,
     .keys = kLfm2MoeKeys,
     .shape = shape_lfm2_moe},
};

}  // namespace

std::span<const Family> hybrid_families() {
    return kFamilies;
}

}  // namespace isoflop::model
