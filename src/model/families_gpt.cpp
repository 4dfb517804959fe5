// Models after GPT-2, GPT-J and GPT-NeoX: layer norms and plain feed-forward networks.
#include <algorithm>
#include <array>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "layer_patterns.hpp"

namespace isoflop::model {
namespace {

constexpr std::array<std::string_view, 2> kPhiKeys = {"qk_layernorm", "layer_norm_eps"};

void shape_phi(const ClassKeys& keys, ModelConfig& config) {
    config.lm_head_bias = true;
    if (keys.flag("qk_layernorm", false)) config.qk_norm = QkNorm::per_head;
}

/// Names that classes after GPT-2 give to sizes.
constexpr std::array<std::string_view, 8> kGptjKeys = {
    "n_positions", "n_embd", "n_layer",    "n_head",
    "n_inner",     "n_ctx",  "rotary_dim", "layer_norm_epsilon"};

void shape_gptj(const ClassKeys& keys, ModelConfig& config) {
    config.lm_head_bias = true;
    const std::int64_t head = std::max<std::int64_t>(config.head_dim, 1);
    const std::int64_t given = keys.integer("rotary_dim", 64);
    if (given < 1) keys.refuse("rotary_dim", "at least 1");
    config.rotary_fraction = static_cast<double>(std::min(given, head)) / static_cast<double>(head);
}

constexpr std::array<std::string_view, 9> kGptNeoKeys = {
    "num_layers",        "num_heads",           "attention_types",   "attention_layers",
    "window_size",       "activation_function", "intermediate_size", "max_position_embeddings",
    "layer_norm_epsilon"};

/// [[["global", "local"], 12]]: 12 times a layer that sees all and one with a window.
void shape_gpt_neo(const ClassKeys& keys, ModelConfig& config) {
    config.attention_scale = 1;
    config.sliding_window = keys.integer("window_size", 256);
    const LayerKind global{};
    const LayerKind local{.window = true};
    const std::initializer_list<LayerType> known = {{"global", global}, {"local", local}};
    if (const auto given = keys.texts("attention_layers")) {
        config.layers = layers_by_name(*given, known, "attention_layers");
    } else if (const config::Value* types = keys.find("attention_types")) {
        std::vector<std::string> names;
        if (!types->is_array()) keys.refuse("attention_types", "a list of [names, number]");
        for (const config::Value& item : types->as_array()) {
            if (!item.is_array() || item.as_array().size() != 2 || !item.as_array()[0].is_array() ||
                !item.as_array()[1].is_integer() || item.as_array()[1].as_integer() < 0 ||
                item.as_array()[1].as_integer() > config.num_hidden_layers) {
                keys.refuse("attention_types", "a list of [names, number]");
            }
            for (std::int64_t repeat = 0; repeat < item.as_array()[1].as_integer(); ++repeat) {
                for (const config::Value& name : item.as_array()[0].as_array())
                    names.push_back(name.is_string() ? name.as_string() : name.to_text());
            }
        }
        config.layers = layers_by_name(names, known, "attention_types");
    } else {
        for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
            config.layers.push_back(layer % 2 == 0 ? global : local);
    }
    if (static_cast<std::int64_t>(config.layers.size()) != config.num_hidden_layers)
        keys.refuse("attention_types", "a list that describes num_layers layers");
}

constexpr std::array<std::string_view, 8> kOptKeys = {"ffn_dim",
                                                      "max_position_embeddings",
                                                      "do_layer_norm_before",
                                                      "_remove_final_layer_norm",
                                                      "enable_bias",
                                                      "word_embed_proj_dim",
                                                      "activation_function",
                                                      "layer_norm_elementwise_affine"};

void shape_opt(const ClassKeys& keys, ModelConfig& config) {
    const bool bias = keys.flag("enable_bias", true);
    config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
    config.embedding_width = keys.integer("word_embed_proj_dim", 0);
    const bool before = keys.flag("do_layer_norm_before", true);
    config.norm_position = before ? NormPosition::pre : NormPosition::post;
    config.final_norm = before && !keys.flag("_remove_final_layer_norm", false);
    if (!keys.flag("layer_norm_elementwise_affine", true))
        keys.refuse("layer_norm_elementwise_affine", "true");
}

constexpr std::array<std::string_view, 11> kBigcodeKeys = {"n_positions",
                                                           "n_embd",
                                                           "n_layer",
                                                           "n_head",
                                                           "n_inner",
                                                           "n_ctx",
                                                           "multi_query",
                                                           "activation_function",
                                                           "layer_norm_epsilon",
                                                           "add_cross_attention",
                                                           "scale_attention_softmax_in_fp32"};

void shape_gpt_bigcode(const ClassKeys& keys, ModelConfig& config) {
    if (keys.flag("multi_query", true)) config.num_key_value_heads = 1;
}

constexpr std::array<std::string_view, 13> kFalconKeys = {
    "new_decoder_architecture", "multi_query", "parallel_attn", "num_kv_heads",    "n_head_kv",
    "num_ln_in_parallel_attn",  "alibi",       "bias",          "ffn_hidden_size", "activation",
    "layer_norm_epsilon",       "n_embed",     "n_layer"};

/// Three generations: one key head (7B), groups of heads with two norms (40B, 180B), all heads
/// (RW-1B).
void shape_falcon(const ClassKeys& keys, ModelConfig& config) {
    const bool grouped = keys.flag("new_decoder_architecture", false);
    const bool one_head = !grouped && keys.flag("multi_query", true);
    const std::int64_t given = keys.integer("n_head_kv", config.num_attention_heads);
    config.num_key_value_heads = keys.common().num_key_value_heads.value_or(given);
    if (one_head) config.num_key_value_heads = 1;
    if (!grouped && !one_head) config.num_key_value_heads = config.num_attention_heads;
    const bool bias = keys.common().bias.value_or(false);
    config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
    if (keys.flag("alibi", false)) config.position_encoding = PositionEncoding::alibi;
    config.parallel_residual = keys.flag("parallel_attn", true);
    const std::int64_t norms = keys.integer("num_ln_in_parallel_attn", grouped ? 2 : 1);
    config.shared_norm = config.parallel_residual && norms != 2;
}

constexpr Family kFamilies[] = {
    {.model_type = "phi",
     .sizes = {24, 2048, 32, 8192, 51200},
     .naming = TensorNaming::phi,
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .qkv_bias = true,
     .attention_output_bias = true,
     .ffn_bias = true,
     .parallel_residual = true,
     .shared_norm = true,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.5,
     .keys = kPhiKeys,
     .shape = shape_phi},
    {.model_type = "gptj",
     .sizes = {28, 4096, 16, 0, 50400},
     .naming = TensorNaming::gptj,
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .ffn_bias = true,
     .parallel_residual = true,
     .shared_norm = true,
     .fused_heads = true,
     .norm_eps = 1e-5,
     .interleaved_rotary = true,
     .keys = kGptjKeys,
     .shape = shape_gptj},
    {.model_type = "gpt_neo",
     .sizes = {24, 2048, 16, 0, 50257},
     .naming = TensorNaming::gpt_neo,
     .normalization = Normalization::layernorm,
     .position_encoding = PositionEncoding::learned_absolute,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu_tanh,
     .attention_output_bias = true,
     .ffn_bias = true,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5,
     .keys = kGptNeoKeys,
     .shape = shape_gpt_neo},
    {.model_type = "opt",
     .sizes = {12, 768, 12, 3072, 50272},
     .naming = TensorNaming::opt,
     .normalization = Normalization::layernorm,
     .position_encoding = PositionEncoding::learned_absolute,
     .ffn_type = FfnType::standard,
     .activation = Activation::relu,
     .tied = true,
     .fused_heads = true,
     .norm_eps = 1e-5,
     .keys = kOptKeys,
     .shape = shape_opt},
    {.model_type = "gpt_bigcode",
     .sizes = {12, 768, 12, 0, 50257},
     .naming = TensorNaming::gpt_bigcode,
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
     .max_position_embeddings = 1024,
     .keys = kBigcodeKeys,
     .shape = shape_gpt_bigcode},
    {.model_type = "falcon",
     .sizes = {32, 4544, 71, 0, 65024},
     .naming = TensorNaming::falcon,
     .normalization = Normalization::layernorm,
     .ffn_type = FfnType::standard,
     .activation = Activation::gelu,
     .tied = true,
     .norm_eps = 1e-5,
     .keys = kFalconKeys,
     .shape = shape_falcon},
};

}  // namespace

std::span<const Family> gpt_families() {
    return kFamilies;
}

}  // namespace isoflop::model
