// The LLaMA family: separate (phi3: fused) projections, grouped queries, optional norms on q and k,
// latent attention (DeepSeek), and norms before, after or around each half of the block.
#include "layout_parts.hpp"

namespace isoflop::model::parts {
namespace {

constexpr std::string_view kQNorm = "self_attn.q_norm.weight";
constexpr std::string_view kKNorm = "self_attn.k_norm.weight";
constexpr Names kInputNorm = {"input_layernorm.weight", "input_layernorm.bias"};
constexpr Names kPostAttentionNorm = {"post_attention_layernorm.weight",
                                      "post_attention_layernorm.bias"};
constexpr Names kPreFeedforwardNorm = {"pre_feedforward_layernorm.weight",
                                       "pre_feedforward_layernorm.bias"};
constexpr Names kPostFeedforwardNorm = {"post_feedforward_layernorm.weight",
                                        "post_feedforward_layernorm.bias"};

void add_query_key_value(Tensors& tensors, const ModelConfig& config) {
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t query = config.query_width();
    const std::int64_t key_value = config.key_value_width();
    const auto linear = [&](std::int64_t outputs) {
        return Linear{.outputs = outputs, .inputs = hidden, .has_bias = config.qkv_bias};
    };
    if (config.naming == TensorNaming::phi3) {
        add_linear(tensors, {"self_attn.qkv_proj.weight", "self_attn.qkv_proj.bias"},
                   linear(query + 2 * key_value));
    } else {
        add_linear(tensors, {"self_attn.q_proj.weight", "self_attn.q_proj.bias"}, linear(query));
        add_linear(tensors, {"self_attn.k_proj.weight", "self_attn.k_proj.bias"},
                   linear(key_value));
        add_linear(tensors, {"self_attn.v_proj.weight", "self_attn.v_proj.bias"},
                   linear(key_value));
    }
    if (config.qk_norm != QkNorm::none) {
        const bool per_head = config.qk_norm == QkNorm::per_head;
        add_vector(tensors, kQNorm, per_head ? config.head_dim : query, Component::attention);
        add_vector(tensors, kKNorm, per_head ? config.head_dim : key_value, Component::attention);
    }
}

/// Queries and keys/values go through low ranks; the rotary part of the key is shared by all heads.
void add_latent_query_key_value(Tensors& tensors, const ModelConfig& config) {
    const LatentAttention& mla = *config.mla;
    const std::int64_t hidden = config.hidden_size;
    if (mla.q_lora_rank) {
        add_linear(tensors, {"self_attn.q_a_proj.weight", "self_attn.q_a_proj.bias"},
                   {.outputs = *mla.q_lora_rank, .inputs = hidden, .has_bias = config.qkv_bias});
        add_vector(tensors, "self_attn.q_a_layernorm.weight", *mla.q_lora_rank,
                   Component::attention);
        add_linear(tensors, {"self_attn.q_b_proj.weight", {}},
                   {.outputs = config.query_width(), .inputs = *mla.q_lora_rank});
    } else {
        add_linear(tensors, {"self_attn.q_proj.weight", {}},
                   {.outputs = config.query_width(), .inputs = hidden});
    }
    add_linear(tensors,
               {"self_attn.kv_a_proj_with_mqa.weight", "self_attn.kv_a_proj_with_mqa.bias"},
               {.outputs = mla.kv_lora_rank + mla.qk_rope_head_dim,
                .inputs = hidden,
                .has_bias = config.qkv_bias});
    add_vector(tensors, "self_attn.kv_a_layernorm.weight", mla.kv_lora_rank, Component::attention);
    add_linear(tensors, {"self_attn.kv_b_proj.weight", {}},
               {.outputs = config.num_attention_heads * (mla.qk_nope_head_dim + mla.v_head_dim),
                .inputs = mla.kv_lora_rank});
}

void add_attention(Tensors& tensors, const ModelConfig& config) {
    if (config.mla) {
        add_latent_query_key_value(tensors, config);
    } else {
        add_query_key_value(tensors, config);
    }
    add_linear(tensors, {"self_attn.o_proj.weight", "self_attn.o_proj.bias"},
               {.outputs = config.hidden_size,
                .inputs = config.attention_output_width(),
                .has_bias = config.attention_output_bias});
}

/// Pre-norm blocks (LLaMA) call the norm before the FFN "post_attention_layernorm"; in post-norm
/// (OLMo-2) and sandwich blocks (Gemma-2) the name describes the position.
void add_block_norms(Tensors& tensors, const ModelConfig& config) {
    const NormPosition position = config.norm_position;
    if (position != NormPosition::post) add_norm(tensors, kInputNorm, config);
    add_norm(tensors, kPostAttentionNorm, config);
    if (position == NormPosition::sandwich) add_norm(tensors, kPreFeedforwardNorm, config);
    if (position != NormPosition::pre) add_norm(tensors, kPostFeedforwardNorm, config);
}

}  // namespace

void build_llama_ends(const ModelConfig& config, ParameterLayout& layout) {
    layout.embedding.reserve(2);
    add_embedding(layout.embedding, "model.embed_tokens.weight", config.vocab_size,
                  Component::token_embedding, config);
    if (config.position_encoding == PositionEncoding::learned_absolute) {
        add_embedding(layout.embedding, "model.embed_positions.weight",
                      config.max_position_embeddings, Component::position_embedding, config);
    }
    layout.head.reserve(3);
    add_norm(layout.head, {"model.norm.weight", "model.norm.bias"}, config);
    add_head(layout.head, "lm_head.weight", config);
}

BlockLayout llama_block(const ModelConfig& config, bool is_moe) {
    BlockLayout block{.prefix = "model.layers.", .is_moe = is_moe, .layers = {}, .tensors = {}};
    block.tensors.reserve(24);
    add_attention(block.tensors, config);
    add_llama_ffn(block.tensors, config, is_moe);
    add_block_norms(block.tensors, config);
    return block;
}

}  // namespace isoflop::model::parts
