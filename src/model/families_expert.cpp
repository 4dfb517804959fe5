// Mixtures of experts beyond those of families.cpp, after the classes of transformers 5.
#include <algorithm>
#include <array>

#include "class_key_reader.hpp"
#include "families.hpp"
#include "layer_patterns.hpp"

namespace isoflop::model {
namespace {

using Key = std::string_view;

/// Layers n - 1, 2n - 1, ... are mixtures.
void space_mixtures(MixtureOfExperts& moe, std::int64_t period) {
    moe.layer_frequency = period;
    moe.layer_offset = 1;
}

constexpr Key kQwen2MoeKeys[] = {"num_experts",
                                 "num_local_experts",
                                 "num_experts_per_tok",
                                 "shared_expert_intermediate_size",
                                 "qkv_bias",
                                 "decoder_sparse_step",
                                 "mlp_only_layers",
                                 "norm_topk_prob",
                                 "use_sliding_window",
                                 "max_window_layers",
                                 "moe_intermediate_size"};
constexpr std::array<ClassDefault, 2> kQwen2MoeDefaults = {
    {{"num_experts", 60}, {"moe_intermediate_size", 1408}}};

void shape_qwen2_moe(const ClassKeys& keys, ModelConfig& config) {
    config.qkv_bias = keys.flag("qkv_bias", true);
    if (config.moe) {
        config.moe->shared_intermediate_size =
            keys.integer("shared_expert_intermediate_size", 5632);
        config.moe->shared_expert_gate = true;
        space_mixtures(*config.moe, keys.common().decoder_sparse_step.value_or(1));
    }
    std::vector<LayerKind> layers = layers_by_rules(config);
    const auto types = keys.layer_types(config.num_hidden_layers);
    const bool has_list = types.has_value();
    const std::vector<LayerKind> windows = windows_by_list(keys, config, WindowsWithoutList::none);
    const std::int64_t last = keys.common().max_window_layers.value_or(28);
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        const bool every_second = layer % 2 == 0 && static_cast<std::int64_t>(layer) < last;
        layers[layer].window =
            has_list ? windows[layer].window : config.sliding_window && every_second;
    }
    config.layers = std::move(layers);
}

constexpr Key kGptOssKeys[] = {"num_local_experts", "num_experts",  "num_experts_per_tok",
                               "swiglu_alpha",      "swiglu_limit", "experts_per_token",
                               "attention_bias"};
constexpr std::array<ClassDefault, 1> kGptOssDefaults = {{{"num_local_experts", 128}}};

void shape_gpt_oss(const ClassKeys& keys, ModelConfig& config) {
    config.layers = windows_by_list(keys, config, WindowsWithoutList::all_but_every_nth, 2);
    config.attention_sinks = true;
    if (!config.moe) return;
    config.moe->router_bias = true;
    config.moe->expert_bias = true;
    for (LayerKind& layer : config.layers) layer.ffn = FfnKind::mixture;
}

constexpr Key kLlama4Keys[] = {"num_local_experts",
                               "num_experts",
                               "num_experts_per_tok",
                               "intermediate_size_mlp",
                               "moe_layers",
                               "interleave_moe_layer_step",
                               "use_qk_norm",
                               "no_rope_layers",
                               "no_rope_layer_interval",
                               "attention_chunk_size",
                               "attn_temperature_tuning",
                               "floor_scale",
                               "attn_scale"};
constexpr std::array<ClassDefault, 1> kLlama4Defaults = {{{"num_local_experts", 16}}};

/// Which layers of LLaMA 4 are mixtures.
void mix_llama4(const ClassKeys& keys, ModelConfig& config) {
    MixtureOfExperts& moe = *config.moe;
    moe.intermediate_size = config.intermediate_size;
    moe.shared_intermediate_size = config.intermediate_size;
    config.intermediate_size = keys.integer("intermediate_size_mlp", 16384);
    const auto listed = keys.integers("moe_layers");
    const std::int64_t step = keys.integer("interleave_moe_layer_step", 1);
    if (step < 1) keys.refuse("interleave_moe_layer_step", "at least 1");
    space_mixtures(moe, step);
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
        const auto index = static_cast<std::int64_t>(layer);
        const bool mixture = listed
                                 ? std::find(listed->begin(), listed->end(), index) != listed->end()
                                 : (index + 1) % step == 0;
        config.layers[layer].ffn = mixture ? FfnKind::mixture : FfnKind::dense;
    }
}

void shape_llama4(const ClassKeys& keys, ModelConfig& config) {
    config.sliding_window = keys.integer_or_null("attention_chunk_size", 8192);
    config.chunked_windows = config.sliding_window.has_value();
    config.layers = windows_by_list(keys, config, WindowsWithoutList::none);
    const std::int64_t interval = keys.integer("no_rope_layer_interval", 4);
    if (interval < 1) keys.refuse("no_rope_layer_interval", "at least 1");
    // 1 is a layer with rotary positions; without entries the interval decides.
    const std::vector<std::int64_t> rotary =
        keys.integers("no_rope_layers").value_or(std::vector<std::int64_t>{});
    if (!rotary.empty() && rotary.size() != config.layers.size())
        keys.refuse("no_rope_layers", "a list with one entry a layer");
    const bool has_list = keys.layer_types(config.num_hidden_layers).has_value();
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
        LayerKind& kind = config.layers[layer];
        kind.rotary = rotary.empty() ? (static_cast<std::int64_t>(layer) + 1) % interval != 0
                                     : rotary[layer] != 0;
        if (!has_list) kind.window = kind.rotary && config.chunked_windows;
    }
    if (keys.flag("use_qk_norm", true)) config.qk_norm = QkNorm::unweighted;
    if (config.moe) mix_llama4(keys, config);
}

constexpr Key kGlm4MoeKeys[] = {"use_qk_norm", "num_nextn_predict_layers"};
constexpr std::array<ClassDefault, 3> kGlm4MoeDefaults = {
    {{"n_routed_experts", 128}, {"n_shared_experts", 1}, {"moe_intermediate_size", 1408}}};

void shape_glm4_moe(const ClassKeys& keys, ModelConfig& config) {
    // The key attention_bias is about queries, keys and values alone.
    config.attention_output_bias = false;
    if (keys.flag("use_qk_norm", false)) config.qk_norm = QkNorm::per_head;
    if (config.moe) config.moe->router_bias = true;
}

constexpr Key kDeepSeekV32Keys[] = {"index_topk", "index_head_dim", "index_n_heads",
                                    "mlp_layer_types", "head_dim"};
constexpr std::array<ClassDefault, 8> kDeepSeekV32Defaults = {{{"n_routed_experts", 256},
                                                               {"n_shared_experts", 1},
                                                               {"moe_intermediate_size", 2048},
                                                               {"kv_lora_rank", 512},
                                                               {"q_lora_rank", 1536},
                                                               {"qk_rope_head_dim", 64},
                                                               {"qk_nope_head_dim", 128},
                                                               {"v_head_dim", 128}}};

void shape_deepseek_v32(const ClassKeys& keys, ModelConfig& config) {
    if (config.moe) config.moe->router_bias = true;
    if (!config.mla->q_lora_rank) keys.refuse("q_lora_rank", "a rank, which the indexer reads");
    config.index_heads = keys.integer("index_n_heads", 64);
    config.index_head_dim = keys.integer("index_head_dim", 128);
    config.index_top_k = keys.integer("index_topk", 2048);
    if (const auto types = keys.layer_types(config.num_hidden_layers)) {
        for (const std::string& type : *types) {
            const bool indexed = type == "indexed_attention" || type == "deepseek_sparse_attention";
            if (!indexed) keys.refuse("layer_types", "a list of indexed_attention");
        }
    }
    const auto networks = keys.texts("mlp_layer_types");
    if (!networks) return;
    config.layers = layers_by_name(
        *networks, {{"dense", {}}, {"sparse", {.ffn = FfnKind::mixture}}}, "mlp_layer_types");
    if (static_cast<std::int64_t>(config.layers.size()) != config.num_hidden_layers)
        keys.refuse("mlp_layer_types", "a list with one entry a layer");
}

constexpr Key kMiniMaxM2Keys[] = {
    "num_local_experts", "num_experts",    "num_experts_per_tok",
    "rotary_dim",        "use_qk_norm",    "qk_norm_type",
    "use_routing_bias",  "attn_type_list", "shared_intermediate_size"};
constexpr std::array<ClassDefault, 1> kMiniMaxM2Defaults = {{{"num_local_experts", 256}}};

void shape_minimax_m2(const ClassKeys& keys, ModelConfig& config) {
    if (config.moe) config.moe->router_bias = true;
    if (!keys.flag("use_qk_norm", true)) keys.refuse("use_qk_norm", "true");
    if (!keys.flag("use_routing_bias", true)) keys.refuse("use_routing_bias", "true");
    if (keys.text("qk_norm_type", "per_layer") != "per_layer")
        keys.refuse("qk_norm_type", "\"per_layer\"");
    if (keys.integer("shared_intermediate_size", 0) != 0)
        keys.refuse("shared_intermediate_size", "0");
    const auto kinds = keys.integers("attn_type_list");  // 1: full attention
    if (kinds && std::find_if(kinds->begin(), kinds->end(),
                              [](std::int64_t kind) { return kind != 1; }) != kinds->end())
        keys.refuse("attn_type_list", "a list of 1");
    const std::int64_t rotated = keys.integer("rotary_dim", 0);
    if (rotated > 0 && config.head_dim > 0)
        config.rotary_fraction =
            static_cast<double>(rotated) / static_cast<double>(config.head_dim);
}

constexpr Key kOlmoeKeys[] = {"num_experts", "num_local_experts", "num_experts_per_tok", "clip_qkv",
                              "norm_topk_prob"};
constexpr std::array<ClassDefault, 1> kOlmoeDefaults = {{{"num_experts", 64}}};

constexpr Key kPhiMoeKeys[] = {"num_local_experts", "num_experts",        "num_experts_per_tok",
                               "lm_head_bias",      "input_jitter_noise", "router_jitter_noise"};
constexpr std::array<ClassDefault, 1> kPhiMoeDefaults = {{{"num_local_experts", 16}}};

void shape_phimoe(const ClassKeys& keys, ModelConfig& config) {
    config.lm_head_bias = keys.flag("lm_head_bias", false);
}

constexpr Key kGraniteMoeKeys[] = {
    "num_local_experts",   "num_experts",          "num_experts_per_tok", "embedding_multiplier",
    "residual_multiplier", "attention_multiplier", "logits_scaling"};
constexpr std::array<ClassDefault, 1> kGraniteMoeDefaults = {{{"num_local_experts", 8}}};

void shape_granite_moe(const ClassKeys& keys, ModelConfig& config) {
    config.embedding_scale = keys.number("embedding_multiplier", 1);
    config.residual_scale = keys.number("residual_multiplier", 1);
    config.attention_scale = keys.number("attention_multiplier", 1);
    config.logit_scale = 1 / keys.number("logits_scaling", 1);
}

constexpr Key kErnieMoeKeys[] = {"use_bias",
                                 "moe_num_experts",
                                 "num_experts",
                                 "moe_k",
                                 "num_experts_per_tok",
                                 "moe_intermediate_size",
                                 "moe_num_shared_experts",
                                 "moe_layer_start_index",
                                 "moe_layer_end_index",
                                 "moe_layer_interval",
                                 "moe_norm_min",
                                 "moe_capacity"};

void shape_ernie_moe(const ClassKeys& keys, ModelConfig& config) {
    const ModelKeys& common = keys.common();
    const bool bias = keys.flag("use_bias", false);
    config.qkv_bias = config.attention_output_bias = config.ffn_bias = bias;
    config.lm_head_bias = bias;
    config.moe = MixtureOfExperts{
        .num_experts = keys.integer("moe_num_experts", common.num_experts.value_or(64)),
        .num_experts_per_token = keys.integer("moe_k", common.num_experts_per_tok.value_or(6)),
        .intermediate_size = common.moe_intermediate_size.value_or(1536),
        .num_shared_experts = keys.integer("moe_num_shared_experts", 2),
        .dense_layers = {},
        .router_bias = true};
    const std::int64_t first = keys.integer("moe_layer_start_index", 1);
    const std::int64_t last = keys.integer("moe_layer_end_index", -1);
    const std::int64_t period = keys.integer("moe_layer_interval", 1);
    if (period < 1) keys.refuse("moe_layer_interval", "at least 1");
    config.layers.assign(static_cast<std::size_t>(config.num_hidden_layers), {});
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
        const auto index = static_cast<std::int64_t>(layer);
        const bool within = index >= first && (last == -1 || index <= last);
        if (within && (index + 1) % period == 0) config.layers[layer].ffn = FfnKind::mixture;
    }
}

constexpr Key kDots1Keys[] = {"max_window_layers"};
constexpr std::array<ClassDefault, 2> kDots1Defaults = {
    {{"n_routed_experts", 128}, {"moe_intermediate_size", 1408}}};

void shape_dots1(const ClassKeys& keys, ModelConfig& config) {
    if (config.moe) config.moe->router_bias = true;
    std::vector<LayerKind> layers = layers_by_rules(config);
    const bool has_list = keys.layer_types(config.num_hidden_layers).has_value();
    const std::vector<LayerKind> windows = windows_by_list(keys, config, WindowsWithoutList::none);
    const std::int64_t first = keys.common().max_window_layers.value_or(62);
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        const bool late = static_cast<std::int64_t>(layer) >= first;
        layers[layer].window = has_list ? windows[layer].window : config.sliding_window && late;
    }
    config.layers = std::move(layers);
}

constexpr Key kHunyuanMoeKeys[] = {"num_experts",         "num_local_experts", "moe_topk",
                                   "num_experts_per_tok", "num_shared_expert", "use_mixed_mlp_moe"};
constexpr std::array<ClassDefault, 1> kHunyuanMoeDefaults = {{{"num_experts", 1}}};

/// The first entry where a list has one for each layer; the class uses no other.
std::int64_t first_or_value(const ClassKeys& keys, Key key, std::int64_t otherwise) {
    const config::Value* value = keys.find(key);
    if (value == nullptr || !value->is_array()) return keys.integer(key, otherwise);
    const auto entries = keys.integers(key);
    if (entries->empty()) keys.refuse(key, "a list of integers");
    for (const std::int64_t entry : *entries) {
        if (entry != entries->front()) keys.refuse(key, "the same for every layer");
    }
    return entries->front();
}

void shape_hunyuan_moe(const ClassKeys& keys, ModelConfig& config) {
    if (!config.moe) return;
    config.moe->num_experts_per_token =
        first_or_value(keys, "moe_topk", keys.common().num_experts_per_tok.value_or(1));
    if (first_or_value(keys, "num_shared_expert", 1) != 1) keys.refuse("num_shared_expert", "1");
    config.moe->shared_intermediate_size = config.intermediate_size;
}

constexpr Family kFamilies[] = {
    {.model_type = "qwen2_moe",
     .sizes = {24, 2048, 16, 5632, 151936},
     .naming = TensorNaming::qwen2_moe,
     .qkv_bias = true,
     .num_key_value_heads = 16,
     .max_position_embeddings = 32768,
     .window = WindowRule::opt_in_all,
     .has_experts = true,
     .num_experts_per_token = 4,
     .defaults = kQwen2MoeDefaults,
     .keys = kQwen2MoeKeys,
     .shape = shape_qwen2_moe},
    {.model_type = "gpt_oss",
     .sizes = {36, 2880, 64, 2880, 201088},
     .naming = TensorNaming::gpt_oss,
     .qkv_bias = true,
     .attention_output_bias = true,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .rope_theta = 150000,
     .head_dim = 64,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .sliding_window = 128,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 4,
     .defaults = kGptOssDefaults,
     .keys = kGptOssKeys,
     .shape = shape_gpt_oss},
    {.model_type = "llama4_text",
     .sizes = {48, 5120, 40, 8192, 202048},
     .naming = TensorNaming::llama4,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .interleaved_rotary = true,
     .head_dim = 128,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 1,
     .defaults = kLlama4Defaults,
     .keys = kLlama4Keys,
     .shape = shape_llama4},
    {.model_type = "glm4_moe",
     .sizes = {46, 4096, 96, 10944, 151552},
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .rotary_fraction = 0.5,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .has_experts = true,
     .num_experts_per_token = 8,
     .first_dense_layers = 1,
     .rounds_head_dim_down = true,
     .defaults = kGlm4MoeDefaults,
     .keys = kGlm4MoeKeys,
     .shape = shape_glm4_moe},
    {.model_type = "deepseek_v32",
     .sizes = {61, 7168, 128, 18432, 129280},
     .naming = TensorNaming::deepseek,
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .max_position_embeddings = 163840,
     .has_experts = true,
     .has_latent_attention = true,
     .num_experts_per_token = 8,
     .first_dense_layers = 3,
     .defaults = kDeepSeekV32Defaults,
     .keys = kDeepSeekV32Keys,
     .shape = shape_deepseek_v32},
    {.model_type = "minimax_m2",
     .sizes = {62, 3072, 48, 1536, 200064},
     .naming = TensorNaming::minimax,
     .qk_norm = QkNorm::full_width,
     .rope_theta = 5e6,
     .head_dim = 128,
     .num_key_value_heads = 8,
     .max_position_embeddings = 196608,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 8,
     .defaults = kMiniMaxM2Defaults,
     .keys = kMiniMaxM2Keys,
     .shape = shape_minimax_m2},
    {.model_type = "olmoe",
     .sizes = {16, 2048, 16, 2048, 50304},
     .qk_norm = QkNorm::full_width,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .max_position_embeddings = 4096,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 8,
     .defaults = kOlmoeDefaults,
     .keys = kOlmoeKeys},
    {.model_type = "phimoe",
     .sizes = {32, 4096, 32, 6400, 32064},
     .naming = TensorNaming::phimoe,
     .normalization = Normalization::layernorm,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .rope_theta = 1e6,
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .window = WindowRule::every_layer,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kPhiMoeDefaults,
     .keys = kPhiMoeKeys,
     .shape = shape_phimoe},
    {.model_type = "granitemoe",
     .sizes = {32, 4096, 32, 11008, 32000},
     .naming = TensorNaming::granitemoe,
     .reads_attention_bias = true,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 2,
     .defaults = kGraniteMoeDefaults,
     .keys = kGraniteMoeKeys,
     .shape = shape_granite_moe},
    {.model_type = "ernie4_5_moe",
     .sizes = {28, 2560, 20, 12288, 103424},
     .naming = TensorNaming::ernie4_5_moe,
     .tied = true,
     .norm_eps = 1e-5,
     .rope_theta = 5e5,
     .interleaved_rotary = true,
     .num_key_value_heads = 4,
     .max_position_embeddings = 131072,
     .keys = kErnieMoeKeys,
     .shape = shape_ernie_moe},
    {.model_type = "dots1",
     .sizes = {62, 4608, 32, 10944, 152064},
     .naming = TensorNaming::deepseek,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .num_key_value_heads = 32,
     .window = WindowRule::every_layer,
     .sliding_window = 4096,
     .has_experts = true,
     .defaults = kDots1Defaults,
     .keys = kDots1Keys,
     .shape = shape_dots1},
    {.model_type = "hunyuan_v1_moe",
     .sizes = {32, 4096, 32, 11008, 290943},
     .naming = TensorNaming::hunyuan,
     .qk_norm = QkNorm::per_head,
     .reads_attention_bias = true,
     .norm_eps = 1e-5,
     .has_experts = true,
     .experts_have_ffn_width = true,
     .num_experts_per_token = 1,
     .defaults = kHunyuanMoeDefaults,
     .keys = kHunyuanMoeKeys,
     .shape = shape_hunyuan_moe},
};

}  // namespace

std::span<const Family> expert_families() {
    return kFamilies;
}

}  // namespace isoflop::model
