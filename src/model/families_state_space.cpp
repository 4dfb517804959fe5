// Models with state spaces in all or some of their layers, after the classes of transformers 5.
#include <algorithm>
#include <array>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "layer_patterns.hpp"

namespace isoflop::model {
namespace {

using Key = std::string_view;

/// The inner width of a mixer as a multiple of hidden_size.
std::int64_t expanded_width(const ClassKeys& keys, Key key, std::int64_t hidden) {
    constexpr std::int64_t kMost = 1024;
    const std::int64_t factor = keys.integer(key, 2);
    if (factor < 1 || factor > kMost) keys.refuse(key, "from 1 to 1024");
    return factor * hidden;
}

/// A sixteenth of hidden_size where the file has none, or "auto".
std::int64_t time_step_rank(const ClassKeys& keys, Key key, std::int64_t hidden) {
    const config::Value* value = keys.find(key);
    if (value != nullptr && !value->is_string()) return keys.integer(key, 0);
    if (keys.text(key, "auto") != "auto") keys.refuse(key, "an integer or \"auto\"");
    return (hidden + 15) / 16;
}

/// Layers of the recurrence without a feed-forward network.
void use_recurrence_alone(ModelConfig& config) {
    config.layers.assign(static_cast<std::size_t>(config.num_hidden_layers),
                         {.attention = false, .recurrence = true, .ffn = FfnKind::none});
}

constexpr Key kMamba2Keys[] = {
    "num_heads", "head_dim",       "state_size",      "expand",     "conv_kernel",
    "n_groups",  "use_bias",       "use_conv_bias",   "chunk_size", "layer_norm_epsilon",
    "rms_norm",  "time_step_rank", "residual_in_fp32"};

void shape_mamba2(const ClassKeys& keys, ModelConfig& config) {
    config.recurrence = Recurrence{.kind = RecurrenceKind::mamba2,
                                   .num_heads = config.num_attention_heads,
                                   .head_dim = config.head_dim,
                                   .num_groups = keys.integer("n_groups", 8),
                                   .state_size = keys.integer("state_size", 128),
                                   .conv_kernel = keys.integer("conv_kernel", 4),
                                   .conv_bias = keys.flag("use_conv_bias", true),
                                   .projection_bias = keys.flag("use_bias", false),
                                   .output_bias = keys.flag("use_bias", false)};
    if (!keys.flag("rms_norm", true)) keys.refuse("rms_norm", "true");
    use_recurrence_alone(config);
}

constexpr Key kMambaKeys[] = {"state_size",     "expand",           "conv_kernel",
                              "use_bias",       "use_conv_bias",    "layer_norm_epsilon",
                              "time_step_rank", "residual_in_fp32", "use_mambapy"};

void shape_mamba(const ClassKeys& keys, ModelConfig& config) {
    config.recurrence =
        Recurrence{.kind = RecurrenceKind::mamba,
                   .num_heads = 1,
                   .head_dim = expanded_width(keys, "expand", config.hidden_size),
                   .state_size = keys.integer("state_size", 16),
                   .conv_kernel = keys.integer("conv_kernel", 4),
                   .time_step_rank = time_step_rank(keys, "time_step_rank", config.hidden_size),
                   .conv_bias = keys.flag("use_conv_bias", true),
                   .projection_bias = keys.flag("use_bias", false),
                   .output_bias = keys.flag("use_bias", false)};
    use_recurrence_alone(config);
}

constexpr Key kJambaKeys[] = {
    "intermediate_size", "max_position_embeddings", "hidden_act",          "num_experts",
    "num_local_experts", "num_experts_per_tok",     "expert_layer_period", "expert_layer_offset",
    "attn_layer_period", "attn_layer_offset",       "mamba_d_state",       "mamba_d_conv",
    "mamba_expand",      "mamba_dt_rank",           "mamba_conv_bias",     "mamba_proj_bias",
    "use_mamba_kernels", "mamba_inner_layernorms",  "num_logits_to_keep"};
constexpr std::array<ClassDefault, 1> kJambaDefaults = {{{"num_experts", 16}}};

/// `period` with its `offset`, which must be within it.
struct Every {
    std::int64_t period = 1, offset = 0;
    [[nodiscard]] bool has(std::int64_t layer) const { return layer % period == offset; }
};

Every read_every(const ClassKeys& keys, Key period, Key offset, Every otherwise) {
    const Every every{keys.integer(period, otherwise.period),
                      keys.integer(offset, otherwise.offset)};
    if (every.period < 1) keys.refuse(period, "at least 1");
    if (every.offset < 0 || every.offset >= every.period) keys.refuse(offset, "within its period");
    return every;
}

void shape_jamba(const ClassKeys& keys, ModelConfig& config) {
    if (!keys.flag("mamba_inner_layernorms", true)) keys.refuse("mamba_inner_layernorms", "true");
    config.recurrence =
        Recurrence{.kind = RecurrenceKind::mamba,
                   .num_heads = 1,
                   .head_dim = expanded_width(keys, "mamba_expand", config.hidden_size),
                   .state_size = keys.integer("mamba_d_state", 16),
                   .conv_kernel = keys.integer("mamba_d_conv", 4),
                   .time_step_rank = time_step_rank(keys, "mamba_dt_rank", config.hidden_size),
                   .conv_bias = keys.flag("mamba_conv_bias", true),
                   .projection_bias = keys.flag("mamba_proj_bias", false),
                   .output_bias = keys.flag("mamba_proj_bias", false),
                   .norms_time_step = true};
    const Every attention = read_every(keys, "attn_layer_period", "attn_layer_offset", {8, 4});
    const Every mixture = read_every(keys, "expert_layer_period", "expert_layer_offset", {2, 1});
    if (config.moe && config.moe->num_experts == 1) config.moe.reset();
    config.layers.clear();
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        LayerKind kind = attention.has(layer) ? kAttentionLayer : kRecurrentLayer;
        if (config.moe && mixture.has(layer)) kind.ffn = FfnKind::mixture;
        config.layers.push_back(kind);
    }
}

/// The Mamba-2 mixer as hybrids name its sizes; of `inner` values.
Recurrence read_mamba2(const ClassKeys& keys, std::int64_t inner) {
    const std::int64_t heads = keys.integer("mamba_n_heads", 128);
    if (heads < 1 || inner % heads != 0) keys.refuse("mamba_n_heads", "a divisor of the width");
    const config::Value* given = keys.find("mamba_d_head");
    const bool derived = given == nullptr || given->is_string();
    if (!derived && keys.integer("mamba_d_head", 0) != inner / heads)
        keys.refuse("mamba_d_head", "the width divided by mamba_n_heads");
    return {.kind = RecurrenceKind::mamba2,
            .num_heads = heads,
            .head_dim = inner / heads,
            .num_groups = keys.integer("mamba_n_groups", 1),
            .state_size = keys.integer("mamba_d_state", 256),
            .conv_kernel = keys.integer("mamba_d_conv", 4),
            .conv_bias = keys.flag("mamba_conv_bias", true),
            .projection_bias = keys.flag("mamba_proj_bias", false)};
}

constexpr Key kFalconH1Keys[] = {
    "mamba_d_ssm",        "mamba_n_heads",        "mamba_d_head",
    "mamba_n_groups",     "mamba_d_state",        "mamba_d_conv",
    "mamba_expand",       "mamba_chunk_size",     "mamba_conv_bias",
    "mamba_proj_bias",    "mamba_rms_norm",       "mamba_norm_before_gate",
    "projectors_bias",    "lm_head_multiplier",   "embedding_multiplier",
    "mlp_multipliers",    "key_multiplier",       "attention_out_multiplier",
    "ssm_multipliers",    "ssm_in_multiplier",    "attention_in_multiplier",
    "ssm_out_multiplier", "time_step_limit",      "num_logits_to_keep",
    "mamba_use_mlp",      "mlp_expansion_factor", "layers_block_type",
    "attn_layer_indices", "time_step_min",        "time_step_max"};

/// Attention and Mamba-2 side by side in every layer.
void shape_falcon_h1(const ClassKeys& keys, ModelConfig& config) {
    const std::int64_t expanded = expanded_width(keys, "mamba_expand", config.hidden_size);
    Recurrence mixer =
        read_mamba2(keys, keys.integer_or_null("mamba_d_ssm", 1024).value_or(expanded));
    mixer.has_norm = keys.flag("mamba_rms_norm", false);
    mixer.output_bias = keys.flag("projectors_bias", false);
    config.recurrence = mixer;
    if (!keys.flag("mamba_use_mlp", true)) keys.refuse("mamba_use_mlp", "true");
    if (keys.find("attn_layer_indices") != nullptr) keys.refuse("attn_layer_indices", "null");
    if (const auto types = keys.texts("layers_block_type"))
        static_cast<void>(layers_by_name(*types, {{"hybrid", {}}}, "layers_block_type"));
    config.embedding_scale = keys.number("embedding_multiplier", 1);
    config.logit_scale = keys.number("lm_head_multiplier", 1);
    config.layers.assign(static_cast<std::size_t>(config.num_hidden_layers), {.recurrence = true});
}

constexpr Key kBambaKeys[] = {"attn_layer_indices", "mamba_n_heads",     "mamba_d_head",
                              "mamba_n_groups",     "mamba_d_state",     "mamba_d_conv",
                              "mamba_expand",       "mamba_chunk_size",  "mamba_conv_bias",
                              "mamba_proj_bias",    "attn_rotary_emb",   "layers_block_type",
                              "z_loss_coefficient", "num_logits_to_keep"};

void shape_bamba(const ClassKeys& keys, ModelConfig& config) {
    config.recurrence = read_mamba2(keys, expanded_width(keys, "mamba_expand", config.hidden_size));
    config.recurrence->output_bias = config.recurrence->projection_bias;
    const auto attention = keys.integers("attn_layer_indices");
    config.layers.clear();
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        const bool listed =
            attention && std::find(attention->begin(), attention->end(), layer) != attention->end();
        config.layers.push_back(listed ? kAttentionLayer : kRecurrentLayer);
    }
}

constexpr Key kGraniteHybridKeys[] = {"embedding_multiplier",
                                      "residual_multiplier",
                                      "attention_multiplier",
                                      "logits_scaling",
                                      "num_local_experts",
                                      "num_experts",
                                      "num_experts_per_tok",
                                      "shared_intermediate_size",
                                      "position_embedding_type",
                                      "mamba_n_heads",
                                      "mamba_d_head",
                                      "mamba_n_groups",
                                      "mamba_d_state",
                                      "mamba_d_conv",
                                      "mamba_expand",
                                      "mamba_chunk_size",
                                      "mamba_conv_bias",
                                      "mamba_proj_bias",
                                      "layers_block_type",
                                      "layer_types"};
constexpr std::array<ClassDefault, 1> kGraniteHybridDefaults = {{{"num_local_experts", 8}}};

void shape_granite_hybrid(const ClassKeys& keys, ModelConfig& config) {
    config.embedding_scale = keys.number("embedding_multiplier", 1);
    config.residual_scale = keys.number("residual_multiplier", 1);
    config.attention_scale = keys.number("attention_multiplier", 1);
    config.logit_scale = 1 / keys.number("logits_scaling", 1);
    if (keys.text("position_embedding_type", "nope") != "rope")
        config.position_encoding = PositionEncoding::none;
    config.recurrence = read_mamba2(keys, expanded_width(keys, "mamba_expand", config.hidden_size));
    config.recurrence->output_bias = config.recurrence->projection_bias;
    // Without experts the shared network is the only one.
    const std::int64_t shared = keys.integer("shared_intermediate_size", 1024);
    if (config.moe) {
        config.moe->shared_intermediate_size = shared;
    } else {
        config.intermediate_size = shared;
    }
    config.layers = mixers_by_list(keys, config, [](std::int64_t) { return false; });
}

constexpr Key kNemotronHKeys[] = {"intermediate_size",
                                  "max_position_embeddings",
                                  "mlp_hidden_act",
                                  "layers_block_type",
                                  "layer_types",
                                  "hybrid_override_pattern",
                                  "ssm_state_size",
                                  "mamba_num_heads",
                                  "mamba_head_dim",
                                  "mamba_hidden_act",
                                  "n_groups",
                                  "mamba_n_groups",
                                  "conv_kernel",
                                  "mamba_d_conv",
                                  "expand",
                                  "use_conv_bias",
                                  "mamba_conv_bias",
                                  "chunk_size",
                                  "mamba_proj_bias",
                                  "use_bias",
                                  "n_routed_experts",
                                  "num_local_experts",
                                  "n_shared_experts",
                                  "moe_shared_expert_intermediate_size",
                                  "moe_latent_size",
                                  "moe_shared_expert_overlap",
                                  "num_experts_per_tok",
                                  "layer_norm_epsilon",
                                  "residual_in_fp32",
                                  "num_logits_to_keep",
                                  "attention_bias",
                                  "mtp_hybrid_override_pattern",
                                  "mtp_layers_block_type",
                                  "attention_head_dim",
                                  "mamba_ssm_cache_dtype",
                                  "use_mamba_kernels"};
constexpr std::array<ClassDefault, 2> kNemotronHDefaults = {
    {{"n_routed_experts", 8}, {"moe_intermediate_size", 7688}}};

constexpr LayerKind kNetworkAlone{.attention = false, .ffn = FfnKind::dense};
constexpr LayerKind kMixtureAlone{.attention = false, .ffn = FfnKind::mixture};
constexpr LayerKind kAttentionAlone{.ffn = FfnKind::none};
constexpr LayerKind kRecurrenceAlone{.attention = false, .recurrence = true, .ffn = FfnKind::none};

/// One part a layer: by its list, else by a letter each.
std::vector<LayerKind> nemotron_layers(const ClassKeys& keys, std::int64_t count) {
    auto types = keys.texts("layers_block_type");
    if (!types && keys.common().layer_types) types = keys.layer_types(count);
    const std::string letters = keys.text("hybrid_override_pattern", "");
    if (!types && !letters.empty()) {
        types.emplace();
        for (const char letter : letters) types->emplace_back(1, letter);
        return layers_by_name(*types,
                              {{"M", kRecurrenceAlone},
                               {"*", kAttentionAlone},
                               {"-", kNetworkAlone},
                               {"E", kMixtureAlone}},
                              "hybrid_override_pattern");
    }
    if (!types) return {kRecurrenceAlone, kMixtureAlone, kAttentionAlone, kNetworkAlone};
    return layers_by_name(*types,
                          {{"linear_attention", kRecurrenceAlone},
                           {"mamba", kRecurrenceAlone},
                           {"full_attention", kAttentionAlone},
                           {"attention", kAttentionAlone},
                           {"mlp", kNetworkAlone},
                           {"moe", kMixtureAlone}},
                          "layers_block_type");
}

void shape_nemotron_h(const ClassKeys& keys, ModelConfig& config) {
    config.layers = nemotron_layers(keys, config.num_hidden_layers);
    if (config.layers.empty()) keys.refuse("layers_block_type", "a list of layers");
    config.num_hidden_layers = static_cast<std::int64_t>(config.layers.size());
    config.qkv_bias = config.attention_output_bias = false;
    // The class has a head of its own whatever the key says.
    config.tie_word_embeddings = false;
    if (keys.text("mlp_hidden_act", "relu2") != "relu2") keys.refuse("mlp_hidden_act", "\"relu2\"");
    const bool bias = keys.flag("use_bias", false);
    config.recurrence =
        Recurrence{.kind = RecurrenceKind::mamba2,
                   .num_heads = keys.integer("mamba_num_heads", 128),
                   .head_dim = keys.integer("mamba_head_dim", 64),
                   .num_groups = keys.integer("mamba_n_groups", keys.integer("n_groups", 8)),
                   .state_size = keys.integer("ssm_state_size", 128),
                   .conv_kernel = keys.integer("mamba_d_conv", keys.integer("conv_kernel", 4)),
                   .conv_bias = keys.flag("mamba_conv_bias", keys.flag("use_conv_bias", true)),
                   .projection_bias = bias,
                   .output_bias = bias};
    if (!config.moe) return;
    config.moe->router_bias = true;
    config.moe->expert_bias = false;
    config.moe->shared_intermediate_size =
        keys.integer("moe_shared_expert_intermediate_size", 7688);
    config.moe->latent_size = keys.integer("moe_latent_size", 0);
    const bool mixes =
        std::find(config.layers.begin(), config.layers.end(), kMixtureAlone) != config.layers.end();
    if (!mixes) config.moe.reset();
}

constexpr Family kFamilies[] = {
    {.model_type = "mamba2",
     .sizes = {64, 4096, 128, 0, 32768},
     .naming = TensorNaming::mamba,
     .position_encoding = PositionEncoding::none,
     .ffn_type = FfnType::standard,
     .norm_eps = 1e-5,
     .head_dim = 64,
     .keys = kMamba2Keys,
     .shape = shape_mamba2},
    {.model_type = "mamba",
     .sizes = {32, 768, 0, 0, 50280},
     .naming = TensorNaming::mamba,
     .position_encoding = PositionEncoding::none,
     .ffn_type = FfnType::standard,
     .tied = true,
     .norm_eps = 1e-5,
     .keys = kMambaKeys,
     .shape = shape_mamba},
    {.model_type = "jamba",
     .sizes = {32, 4096, 32, 14336, 65536},
     .naming = TensorNaming::jamba,
     .position_encoding = PositionEncoding::none,
     .num_key_value_heads = 8,
     .max_position_embeddings = 262144,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kJambaDefaults,
     .keys = kJambaKeys,
     .shape = shape_jamba},
    {.model_type = "falcon_h1",
     .sizes = {32, 4096, 32, 14336, 128000},
     .naming = TensorNaming::falcon_h1,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .norm_eps = 1e-5,
     .num_key_value_heads = 8,
     .max_position_embeddings = 8192,
     .keys = kFalconH1Keys,
     .shape = shape_falcon_h1},
    {.model_type = "bamba",
     .sizes = {32, 4096, 32, 14336, 128000},
     .naming = TensorNaming::jamba,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.5,
     .num_key_value_heads = 8,
     .max_position_embeddings = 262144,
     .keys = kBambaKeys,
     .shape = shape_bamba},
    {.model_type = "granitemoehybrid",
     .sizes = {32, 4096, 32, 11008, 32000},
     .naming = TensorNaming::granitemoe,
     .reads_attention_bias = true,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kGraniteHybridDefaults,
     .keys = kGraniteHybridKeys,
     .shape = shape_granite_hybrid},
    {.model_type = "nemotron_h",
     .sizes = {4, 4096, 32, 21504, 131072},
     .naming = TensorNaming::nemotron_h,
     .position_encoding = PositionEncoding::none,
     .ffn_type = FfnType::standard,
     .activation = Activation::relu_squared,
     .reads_mlp_bias = true,
     .norm_eps = 1e-5,
     .head_dim = 128,
     .num_key_value_heads = 8,
     .max_position_embeddings = 4096,
     .has_experts = true,
     .experts_are_optional = true,
     .num_experts_per_token = 2,
     .defaults = kNemotronHDefaults,
     .keys = kNemotronHKeys,
     .shape = shape_nemotron_h},
};

}  // namespace

std::span<const Family> state_space_families() {
    return kFamilies;
}

}  // namespace isoflop::model
