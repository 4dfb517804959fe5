// Layers of attention, of a recurrence or of both: separate or fused projections, grouped queries,
// optional norms on q and k, latent attention (DeepSeek), and norms before, after or around each
// half of the block.
#include "layout_parts.hpp"
#include "tensor_names.hpp"

namespace isoflop::model::parts {
namespace {

/// Norms on queries and keys.
void add_qk_norms(Tensors& tensors, const TensorNames& names, const ModelConfig& config,
                  bool reuses_keys) {
    const bool has_bias = config.normalization == Normalization::layernorm;
    const auto add = [&](const Names& norm, std::int64_t heads, std::int64_t width) {
        switch (config.qk_norm) {
            case QkNorm::none:
            case QkNorm::unweighted: return;
            case QkNorm::per_head:
                add_vector(tensors, norm.weight, config.head_dim, Component::attention);
                if (has_bias && !norm.bias.empty())
                    add_vector(tensors, norm.bias, config.head_dim, Component::attention);
                return;
            case QkNorm::full_width:
                add_vector(tensors, norm.weight, width, Component::attention);
                return;
            case QkNorm::every_head:
                // One vector for each head, or one matrix of them.
                if (norm.weight.find("{e}") == std::string_view::npos) {
                    tensors.push_back({.name = norm.weight,
                                       .shape = {heads, config.head_dim},
                                       .component = Component::attention});
                } else {
                    tensors.push_back({.name = norm.weight,
                                       .shape = {config.head_dim, 0},
                                       .component = Component::attention,
                                       .copies = heads});
                }
                return;
        }
    };
    add(names.q_norm, config.num_attention_heads, config.query_width());
    if (!reuses_keys) add(names.k_norm, config.num_key_value_heads, config.key_value_width());
}

void add_query_key_value(Tensors& tensors, const TensorNames& names, const ModelConfig& config,
                         bool reuses_keys) {
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t query = config.query_width();
    const std::int64_t key_value = config.key_value_width();
    const auto linear = [&](std::int64_t outputs) {
        return Linear{.outputs = outputs, .inputs = hidden, .has_bias = config.qkv_bias};
    };
    if (!names.qkv.weight.empty()) {
        add_linear(tensors, names.qkv, linear(query + 2 * key_value));
    } else {
        add_linear(tensors, names.q, linear(config.attention_gate ? 2 * query : query));
        if (!reuses_keys) {
            add_linear(tensors, names.k, linear(key_value));
            add_linear(tensors, names.v, linear(key_value));
        }
    }
    add_qk_norms(tensors, names, config, reuses_keys);
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

void add_attention(Tensors& tensors, const TensorNames& names, const ModelConfig& config,
                   const LayerKind& kind) {
    if (config.mla) {
        add_latent_query_key_value(tensors, config);
    } else {
        add_query_key_value(tensors, names, config, kind.reuses_keys);
    }
    add_linear(tensors, names.o,
               {.outputs = config.hidden_size,
                .inputs = config.attention_output_width(),
                .has_bias = config.attention_output_bias});
    if (config.index_heads > 0) add_indexer(tensors, config);
    if (config.attention_sinks)
        add_vector(tensors, names.sinks, config.num_attention_heads, Component::attention);
}

/// Pre-norm blocks (LLaMA) call the norm before the FFN "post_attention_layernorm"; in post-norm
/// (OLMo-2) and sandwich blocks (Gemma-2) the name describes the position. A layer with a mixer or
/// a network alone has one norm.
void add_block_norms(Tensors& tensors, const TensorNames& names, const ModelConfig& config,
                     const LayerKind& kind) {
    const NormPosition position = config.norm_position;
    const bool has_mixer = kind.attention || kind.recurrence;
    const bool has_ffn = kind.ffn != FfnKind::none;
    if (position == NormPosition::pre) {
        if (has_mixer) add_norm(tensors, names.first_norm, config);
        if (has_ffn && !config.shared_norm) add_norm(tensors, names.second_norm, config);
        return;
    }
    const bool sandwich = position == NormPosition::sandwich;
    if (sandwich && has_mixer) add_norm(tensors, names.first_norm, config);
    if (has_mixer) add_norm(tensors, names.mixer_norm, config);
    if (sandwich && has_ffn) add_norm(tensors, names.sandwich_second_norm, config);
    if (has_ffn) add_norm(tensors, names.ffn_norm, config);
}

}  // namespace

void build_llama_ends(const ModelConfig& config, ParameterLayout& layout) {
    const TensorNames& names = names_of(config.naming);
    layout.embedding.reserve(2);
    layout.embedding.push_back({.name = names.embedding,
                                .shape = {config.vocab_size, config.vocabulary_width()},
                                .component = Component::token_embedding});
    const bool projected = config.vocabulary_width() != config.hidden_size;
    if (projected) {
        add_linear(layout.embedding, {"model.decoder.project_in.weight", {}},
                   {.outputs = config.hidden_size,
                    .inputs = config.vocabulary_width(),
                    .component = Component::lm_head});
    }
    if (config.alternating_updates) add_alternating_ends(layout.embedding, config);
    if (config.position_encoding == PositionEncoding::learned_absolute) {
        // OPT numbers positions from 2.
        const std::int64_t offset = config.naming == TensorNaming::opt ? 2 : 0;
        add_embedding(layout.embedding, names.positions, config.max_position_embeddings + offset,
                      Component::position_embedding, config);
    }
    layout.head.reserve(3);
    if (config.final_norm) add_norm(layout.head, names.final_norm, config);
    if (projected) {
        add_linear(layout.head, {"model.decoder.project_out.weight", {}},
                   {.outputs = config.vocabulary_width(),
                    .inputs = config.hidden_size,
                    .component = Component::lm_head});
    }
    add_head(layout.head, names.head, config);
}

BlockLayout llama_block(const ModelConfig& config, const LayerKind& kind) {
    const TensorNames& names = names_of(config.naming);
    BlockLayout block{.prefix = names.prefix,
                      .is_moe = kind.ffn == FfnKind::mixture,
                      .kind = kind,
                      .layers = {},
                      .tensors = {}};
    block.tensors.reserve(24);
    if (kind.attention) add_attention(block.tensors, names, config, kind);
    if (kind.recurrence) add_recurrence(block.tensors, config);
    add_llama_ffn(block.tensors, config, kind);
    if (config.alternating_updates) add_alternating_updates(block.tensors, config);
    add_block_norms(block.tensors, names, config, kind);
    return block;
}

}  // namespace isoflop::model::parts
