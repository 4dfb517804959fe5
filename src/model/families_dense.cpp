// Dense models whose layers are those of LLaMA but for the choices in their entries, after the
// configuration classes of transformers 5.
#include <algorithm>
#include <array>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "layer_patterns.hpp"

namespace isoflop::model {
namespace {

constexpr std::array<std::string_view, 4> kSmolLm3Keys = {
    "no_rope_layers", "no_rope_layer_interval", "use_sliding_window", "attention_bias"};

/// Without layer_types, a window is in the layers without rotary positions.
void shape_smollm3(const ClassKeys& keys, ModelConfig& config) {
    if (keys.common().layer_types) config.sliding_window = keys.common().sliding_window;
    config.layers = windows_by_list(keys, config, WindowsWithoutList::none);
    // 1 is a layer with rotary positions.
    const auto rotary = keys.integers("no_rope_layers");
    const std::int64_t interval = keys.integer("no_rope_layer_interval", 4);
    if (interval < 1) keys.refuse("no_rope_layer_interval", "at least 1");
    if (rotary && static_cast<std::int64_t>(rotary->size()) != config.num_hidden_layers)
        keys.refuse("no_rope_layers", "a list with one entry a layer");
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
        LayerKind& kind = config.layers[layer];
        kind.rotary =
            rotary ? (*rotary)[layer] != 0 : (static_cast<std::int64_t>(layer) + 1) % interval != 0;
        if (!keys.common().layer_types) kind.window = config.sliding_window && !kind.rotary;
    }
}

constexpr std::array<std::string_view, 4> kGraniteKeys = {
    "embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"};

void shape_granite(const ClassKeys& keys, ModelConfig& config) {
    config.embedding_scale = keys.number("embedding_multiplier", 1);
    config.residual_scale = keys.number("residual_multiplier", 1);
    config.attention_scale = keys.number("attention_multiplier", 1);
    config.logit_scale = 1 / keys.number("logits_scaling", 1);
}

constexpr std::array<std::string_view, 1> kOlmo3Keys = {"attention_bias"};

void shape_olmo3(const ClassKeys& keys, ModelConfig& config) {
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all_but_every_nth);
    // Window layers rotate without the scaling.
    if (config.rope_scaling) config.local_rope_theta = config.rope_theta;
}

constexpr std::array<std::string_view, 2> kStarcoderKeys = {"use_bias", "norm_epsilon"};

void shape_starcoder2(const ClassKeys& keys, ModelConfig& config) {
    const bool bias = keys.flag("use_bias", true);
    config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
    config.norm_eps = keys.number("norm_epsilon", 1e-5);
}

constexpr std::array<std::string_view, 4> kStablelmKeys = {
    "use_qkv_bias", "qk_layernorm", "use_parallel_residual", "layer_norm_eps"};

void shape_stablelm(const ClassKeys& keys, ModelConfig& config) {
    config.qkv_bias = keys.flag("use_qkv_bias", false);
    if (keys.flag("qk_layernorm", false)) config.qk_norm = QkNorm::every_head;
    config.parallel_residual = keys.common().use_parallel_residual.value_or(false);
    config.shared_norm = config.parallel_residual;
}

constexpr std::array<std::string_view, 4> kCohereKeys = {
    "logit_scale", "use_qk_norm", "layer_norm_eps", "sliding_window_pattern"};

void shape_cohere(const ClassKeys& keys, ModelConfig& config) {
    config.logit_scale = keys.number("logit_scale", 0.0625);
    if (keys.flag("use_qk_norm", false)) config.qk_norm = QkNorm::every_head;
}

void shape_cohere2(const ClassKeys& keys, ModelConfig& config) {
    config.logit_scale = keys.number("logit_scale", 0.0625);
    const std::int64_t period = keys.common().sliding_window_pattern.value_or(4);
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all_but_every_nth, period);
    // Layers that see everything have no positions.
    for (LayerKind& layer : config.layers) layer.rotary = layer.window;
}

constexpr std::array<std::string_view, 1> kExaone4Keys = {"sliding_window_pattern"};

void shape_exaone4(const ClassKeys& keys, ModelConfig& config) {
    const std::int64_t period = keys.common().sliding_window_pattern.value_or(4);
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all_but_every_nth, period);
    if (!config.sliding_window) return;
    for (LayerKind& layer : config.layers) layer.rotary = layer.window;
}

constexpr std::array<std::string_view, 1> kErnieKeys = {"use_bias"};

void shape_ernie(const ClassKeys& keys, ModelConfig& config) {
    const bool bias = keys.flag("use_bias", false);
    config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
}

constexpr std::array<std::string_view, 2> kSeedKeys = {"attention_bias", "attention_out_bias"};

void shape_seed_oss(const ClassKeys& keys, ModelConfig& config) {
    config.qkv_bias = keys.common().attention_bias.value_or(true);
    config.attention_output_bias = keys.flag("attention_out_bias", false);
}

constexpr std::array<std::string_view, 1> kGlmKeys = {"attention_bias"};

/// The key attention_bias is about queries, keys and values alone.
void shape_glm4(const ClassKeys& keys, ModelConfig& config) {
    config.qkv_bias = keys.common().attention_bias.value_or(true);
    config.attention_output_bias = false;
}

void shape_ministral(const ClassKeys& keys, ModelConfig& config) {
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all);
}

constexpr std::array<std::string_view, 1> kNemotronKeys = {"norm_eps"};

void shape_nemotron(const ClassKeys& /*keys*/, ModelConfig& config) {
    config.norms_add_one = true;
}

constexpr std::array<std::string_view, 1> kInternlmKeys = {"bias"};

void shape_internlm2(const ClassKeys& keys, ModelConfig& config) {
    const bool bias = keys.common().bias.value_or(true);
    config.qkv_bias = config.attention_output_bias = bias;
}

constexpr std::array<std::string_view, 3> kBaichuanKeys = {"model_max_length", "z_loss_weight",
                                                           "max_position_embeddings"};

/// The model of 13B has ALiBi and no max_position_embeddings, that of 7B rotary positions.
void shape_baichuan(const ClassKeys& keys, ModelConfig& config) {
    if (keys.common().max_position_embeddings) return;
    config.position_encoding = PositionEncoding::alibi;
    config.max_position_embeddings = keys.integer("model_max_length", 4096);
}

constexpr Family kFamilies[] = {
    {.model_type = "smollm3",
     .sizes = {36, 2048, 16, 11008, 128256},
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .tied = true,
     .rope_theta = 2e6,
     .num_key_value_heads = 4,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in_all,
     .keys = kSmolLm3Keys,
     .shape = shape_smollm3},
    {.model_type = "granite",
     .sizes = {32, 4096, 32, 11008, 32000},
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .keys = kGraniteKeys,
     .shape = shape_granite},
    {.model_type = "olmo3",
     .sizes = {32, 4096, 32, 11008, 50304},
     .norm_position = NormPosition::post,
     .qk_norm = QkNorm::full_width,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .window = WindowRule::every_layer,
     .sliding_window = 4096,
     .keys = kOlmo3Keys,
     .shape = shape_olmo3},
    {.model_type = "starcoder2",
     .sizes = {30, 3072, 24, 12288, 49152},
     .naming = TensorNaming::starcoder2,
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .tied = true,
     .num_key_value_heads = 2,
     .max_position_embeddings = 4096,
     .window = WindowRule::every_layer,
     .keys = kStarcoderKeys,
     .shape = shape_starcoder2},
    {.model_type = "stablelm",
     .sizes = {32, 2560, 32, 6912, 50304},
     .naming = TensorNaming::stablelm,
     .normalization = Normalization::layernorm,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.25,
     .num_key_value_heads = 32,
     .max_position_embeddings = 4096,
     .keys = kStablelmKeys,
     .shape = shape_stablelm},
    {.model_type = "cohere",
     .sizes = {40, 8192, 64, 22528, 256000},
     .normalization = Normalization::layernorm_nobias,
     .reads_attention_bias = true,
     .tied = true,
     .parallel_residual = true,
     .shared_norm = true,
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .interleaved_rotary = true,
     .max_position_embeddings = 8192,
     .keys = kCohereKeys,
     .shape = shape_cohere},
    {.model_type = "cohere2",
     .sizes = {40, 8192, 64, 22528, 256000},
     .normalization = Normalization::layernorm_nobias,
     .reads_attention_bias = true,
     .tied = true,
     .parallel_residual = true,
     .shared_norm = true,
     .norm_eps = 1e-5,
     .interleaved_rotary = true,
     .max_position_embeddings = 8192,
     .window = WindowRule::every_layer,
     .sliding_window = 4096,
     .keys = kCohereKeys,
     .shape = shape_cohere2},
    {.model_type = "nemotron",
     .sizes = {32, 6144, 48, 24576, 256000},
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::relu_squared,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.5,
     .max_position_embeddings = 4096,
     .keys = kNemotronKeys,
     .shape = shape_nemotron},
    {.model_type = "exaone4",
     .sizes = {32, 4096, 32, 16384, 102400},
     .norm_position = NormPosition::post,
     .qk_norm = QkNorm::per_head,
     .norm_eps = 1e-5,
     .num_key_value_heads = 32,
     .window = WindowRule::every_layer,
     .sliding_window = 4096,
     .keys = kExaone4Keys,
     .shape = shape_exaone4},
    {.model_type = "ernie4_5",
     .sizes = {18, 1024, 16, 3072, 103424},
     .tied = true,
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .interleaved_rotary = true,
     .head_dim = 128,
     .num_key_value_heads = 2,
     .max_position_embeddings = 131072,
     .keys = kErnieKeys,
     .shape = shape_ernie},
    {.model_type = "hunyuan_v1_dense",
     .sizes = {32, 4096, 32, 11008, 290943},
     .naming = TensorNaming::hunyuan,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .norm_eps = 1e-5},
    {.model_type = "seed_oss",
     .sizes = {64, 4096, 80, 27648, 155136},
     .reads_mlp_bias = true,
     .head_dim = 128,
     .num_key_value_heads = 8,
     .max_position_embeddings = 524288,
     .keys = kSeedKeys,
     .shape = shape_seed_oss},
    {.model_type = "glm",
     .sizes = {40, 4096, 32, 13696, 151552},
     .naming = TensorNaming::glm4,
     .norm_eps = 1.5625e-7,
     .rotary_fraction = 0.5,
     .interleaved_rotary = true,
     .head_dim = 128,
     .num_key_value_heads = 2,
     .max_position_embeddings = 131072,
     .keys = kGlmKeys,
     .shape = shape_glm4},
    {.model_type = "glm4",
     .sizes = {40, 4096, 32, 13696, 151552},
     .naming = TensorNaming::glm4,
     .norm_position = NormPosition::sandwich,
     .norm_eps = 1.5625e-7,
     .rotary_fraction = 0.5,
     .interleaved_rotary = true,
     .head_dim = 128,
     .num_key_value_heads = 2,
     .max_position_embeddings = 131072,
     .keys = kGlmKeys,
     .shape = shape_glm4},
    {.model_type = "ministral",
     .sizes = {32, 4096, 32, 14336, 32000},
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .sliding_window = 4096,
     .shape = shape_ministral},
    {.model_type = "ministral3",
     .sizes = {34, 4096, 32, 14336, 131072},
     .norm_eps = 1e-5,
     .head_dim = 128,
     .num_key_value_heads = 8,
     .max_position_embeddings = 262144,
     .window = WindowRule::every_layer,
     .shape = shape_ministral},
    {.model_type = "arcee",
     .sizes = {32, 2560, 32, 18432, 32000},
     .ffn_type = FfnType::standard,
     .activation = Activation::relu_squared,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .norm_eps = 1e-5,
     .max_position_embeddings = 4096},
    // Without classes in transformers; after the code beside their checkpoints.
    {.model_type = "internlm2",
     .sizes = {32, 4096, 32, 11008, 103168},
     .naming = TensorNaming::internlm2,
     .keys = kInternlmKeys,
     .shape = shape_internlm2},
    {.model_type = "baichuan",
     .sizes = {32, 4096, 32, 11008, 125696},
     .naming = TensorNaming::baichuan,
     .keys = kBaichuanKeys,
     .shape = shape_baichuan},
};

}  // namespace

std::span<const Family> dense_families() {
    return kFamilies;
}

}  // namespace isoflop::model
