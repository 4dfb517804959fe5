// Published architectures, written down once, and the counts that the cases take of them.
#include "cases.hpp"

#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::validation {
namespace {

using model::ModelConfig;

struct LlamaShape {
    std::int64_t layers = 0;
    std::int64_t hidden = 0;
    std::int64_t feed_forward = 0;
    std::int64_t vocabulary = 0;
    std::int64_t heads = 0;
    std::int64_t key_value_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t positions = 0;
};

ModelConfig llama_config(const LlamaShape& shape) {
    ModelConfig config;  // defaults are LLaMA's choices
    config.num_hidden_layers = shape.layers;
    config.hidden_size = shape.hidden;
    config.num_attention_heads = shape.heads;
    config.num_key_value_heads = shape.key_value_heads;
    config.head_dim = shape.head_dim;
    config.intermediate_size = shape.feed_forward;
    config.vocab_size = shape.vocabulary;
    config.max_position_embeddings = shape.positions;
    return config;
}

ModelConfig qwen3_moe_config(const LlamaShape& shape, std::int64_t expert_width) {
    ModelConfig config = llama_config(shape);
    config.model_type = "qwen3_moe";
    config.naming = model::TensorNaming::qwen3_moe;
    config.qk_norm = model::QkNorm::per_head;
    config.moe = model::MixtureOfExperts{.num_experts = 128,
                                         .num_experts_per_token = 8,
                                         .intermediate_size = expert_width,
                                         .layer_offset = 1,
                                         .dense_layers = {}};
    return config;
}

double per_token(std::uint64_t flops, std::int64_t sequence_length) {
    return static_cast<double>(flops) / static_cast<double>(sequence_length);
}

std::uint64_t forward_group_flops(const ModelConfig& config, std::int64_t sequence_length,
                                  cost::FlopGroup group) {
    const auto products =
        cost::forward_products(config, 1, sequence_length, cost::AttentionMask::full);
    return cost::flops_by_group(products)[static_cast<std::size_t>(group)];
}

}  // namespace

CountedModel counted(const ModelConfig& config) {
    return {.config = config, .totals = model::parameter_layout(config).totals()};
}

ModelConfig gpt_config(const GptShape& shape) {
    ModelConfig config;
    config.model_type = "gpt2";
    config.preset = "gpt2";
    config.naming = model::TensorNaming::gpt2;
    config.num_hidden_layers = shape.layers;
    config.hidden_size = shape.hidden;
    config.num_attention_heads = shape.heads;
    config.num_key_value_heads = shape.heads;
    config.head_dim = shape.hidden / shape.heads;
    config.intermediate_size = 4 * shape.hidden;
    config.vocab_size = shape.vocabulary;
    config.max_position_embeddings = shape.sequence_length;
    config.normalization = model::Normalization::layernorm;
    config.position_encoding = model::PositionEncoding::learned_absolute;
    config.ffn_type = model::FfnType::standard;
    config.activation = model::Activation::gelu_tanh;
    config.qkv_bias = true;
    config.attention_output_bias = true;
    config.ffn_bias = true;
    config.tie_word_embeddings = true;
    return config;
}

ModelConfig llama2_13b_config() {
    return llama_config({.layers = 40,
                         .hidden = 5120,
                         .feed_forward = 13824,
                         .vocabulary = 32000,
                         .heads = 40,
                         .key_value_heads = 40,
                         .head_dim = 128,
                         .positions = 4096});
}

ModelConfig llama2_70b_config() {
    return llama_config({.layers = 80,
                         .hidden = 8192,
                         .feed_forward = 28672,
                         .vocabulary = 32000,
                         .heads = 64,
                         .key_value_heads = 8,
                         .head_dim = 128,
                         .positions = 4096});
}

ModelConfig llama3_8b_config() {
    return llama_config({.layers = 32,
                         .hidden = 4096,
                         .feed_forward = 14336,
                         .vocabulary = 128256,
                         .heads = 32,
                         .key_value_heads = 8,
                         .head_dim = 128,
                         .positions = 8192});
}

ModelConfig llama3_70b_config() {
    return llama_config({.layers = 80,
                         .hidden = 8192,
                         .feed_forward = 28672,
                         .vocabulary = 128256,
                         .heads = 64,
                         .key_value_heads = 8,
                         .head_dim = 128,
                         .positions = 8192});
}

ModelConfig llama3_405b_config() {
    return llama_config({.layers = 126,
                         .hidden = 16384,
                         .feed_forward = 53248,
                         .vocabulary = 128256,
                         .heads = 128,
                         .key_value_heads = 8,
                         .head_dim = 128,
                         .positions = 131072});
}

ModelConfig qwen3_30b_a3b_config() {
    return qwen3_moe_config({.layers = 48,
                             .hidden = 2048,
                             .feed_forward = 6144,
                             .vocabulary = 151936,
                             .heads = 32,
                             .key_value_heads = 4,
                             .head_dim = 128,
                             .positions = 40960},
                            768);
}

ModelConfig qwen3_235b_a22b_config() {
    return qwen3_moe_config({.layers = 94,
                             .hidden = 4096,
                             .feed_forward = 12288,
                             .vocabulary = 151936,
                             .heads = 64,
                             .key_value_heads = 4,
                             .head_dim = 128,
                             .positions = 40960},
                            1536);
}

ModelConfig deepseek_v3_config() {
    ModelConfig config = llama_config({.layers = 61,
                                       .hidden = 7168,
                                       .feed_forward = 18432,
                                       .vocabulary = 129280,
                                       .heads = 128,
                                       .key_value_heads = 128,
                                       .head_dim = 192,
                                       .positions = 163840});
    config.model_type = "deepseek_v3";
    config.naming = model::TensorNaming::deepseek;
    config.moe = model::MixtureOfExperts{.num_experts = 256,
                                         .num_experts_per_token = 8,
                                         .intermediate_size = 2048,
                                         .num_shared_experts = 1,
                                         .first_dense_layers = 3,
                                         .dense_layers = {},
                                         .router_bias = true};
    config.mla = model::LatentAttention{.q_lora_rank = 1536,
                                        .kv_lora_rank = 512,
                                        .qk_nope_head_dim = 128,
                                        .qk_rope_head_dim = 64,
                                        .v_head_dim = 128};
    return config;
}

// One key/value head, no biases, tied embeddings, gated feed-forward (Chowdhery 2022, section 2).
// Attention and feed-forward are parallel and share one norm.
ModelConfig palm_540b_config() {
    ModelConfig config = llama_config({.layers = 118,
                                       .hidden = 18432,
                                       .feed_forward = 73728,
                                       .vocabulary = 256000,
                                       .heads = 48,
                                       .key_value_heads = 1,
                                       .head_dim = 256,
                                       .positions = 2048});
    config.model_type = "custom";
    config.parallel_residual = true;
    config.tie_word_embeddings = true;
    return config;
}

double training_flops(const CountedModel& model, std::int64_t sequence_length,
                      cost::Convention convention) {
    cost::Execution execution;
    execution.sequence_length = sequence_length;
    return cost::training_flops_per_token(model.config, model.totals, execution, convention);
}

double forward_layer_flops(const ModelConfig& config, std::int64_t sequence_length) {
    const auto products =
        cost::forward_products(config, 1, sequence_length, cost::AttentionMask::full);
    const std::uint64_t head =
        forward_group_flops(config, sequence_length, cost::FlopGroup::lm_head);
    return per_token(cost::total_flops(products) - head, sequence_length);
}

double forward_attention_core_flops(const ModelConfig& config, std::int64_t sequence_length) {
    return per_token(forward_group_flops(config, sequence_length, cost::FlopGroup::attention_core),
                     sequence_length);
}

double table_peak_flops(std::string_view gpu, DType dtype) {
    return hardware::peak_flops(hardware::GpuTable::builtin().at(gpu), dtype);
}

}  // namespace isoflop::validation
