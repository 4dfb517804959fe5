// The GPT family: fused query/key/value projection and a plain two-matrix feed-forward. GPT-2, MPT,
// GPT-NeoX and BLOOM differ in names, in position encoding and in which norms exist, so one table
// of names serves all.
#include "layout_parts.hpp"

namespace isoflop::model::parts {
namespace {

struct GptNames {
    std::string_view token_embedding;
    std::string_view position_embedding;  ///< empty where the family has none
    Names embedding_norm;
    std::string_view block_prefix;
    Names first_norm;
    Names qkv;
    Names attention_output;
    Names second_norm;
    Names ffn_up;
    Names ffn_down;
    Names final_norm;
    Names lm_head;
    bool inputs_are_rows = false;
};

constexpr GptNames kGpt2 = {
    .token_embedding = "transformer.wte.weight",
    .position_embedding = "transformer.wpe.weight",
    .embedding_norm = {},
    .block_prefix = "transformer.h.",
    .first_norm = {"ln_1.weight", "ln_1.bias"},
    .qkv = {"attn.c_attn.weight", "attn.c_attn.bias"},
    .attention_output = {"attn.c_proj.weight", "attn.c_proj.bias"},
    .second_norm = {"ln_2.weight", "ln_2.bias"},
    .ffn_up = {"mlp.c_fc.weight", "mlp.c_fc.bias"},
    .ffn_down = {"mlp.c_proj.weight", "mlp.c_proj.bias"},
    .final_norm = {"transformer.ln_f.weight", "transformer.ln_f.bias"},
    .lm_head = {"lm_head.weight", {}},
    .inputs_are_rows = true,
};

constexpr GptNames kMpt = {
    .token_embedding = "transformer.wte.weight",
    .position_embedding = "transformer.wpe.weight",
    .embedding_norm = {},
    .block_prefix = "transformer.blocks.",
    .first_norm = {"norm_1.weight", "norm_1.bias"},
    .qkv = {"attn.Wqkv.weight", "attn.Wqkv.bias"},
    .attention_output = {"attn.out_proj.weight", "attn.out_proj.bias"},
    .second_norm = {"norm_2.weight", "norm_2.bias"},
    .ffn_up = {"ffn.up_proj.weight", "ffn.up_proj.bias"},
    .ffn_down = {"ffn.down_proj.weight", "ffn.down_proj.bias"},
    .final_norm = {"transformer.norm_f.weight", "transformer.norm_f.bias"},
    .lm_head = {"lm_head.weight", {}},
};

constexpr GptNames kGptNeox = {
    .token_embedding = "gpt_neox.embed_in.weight",
    .position_embedding = {},
    .embedding_norm = {},
    .block_prefix = "gpt_neox.layers.",
    .first_norm = {"input_layernorm.weight", "input_layernorm.bias"},
    .qkv = {"attention.query_key_value.weight", "attention.query_key_value.bias"},
    .attention_output = {"attention.dense.weight", "attention.dense.bias"},
    .second_norm = {"post_attention_layernorm.weight", "post_attention_layernorm.bias"},
    .ffn_up = {"mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias"},
    .ffn_down = {"mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.bias"},
    .final_norm = {"gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias"},
    .lm_head = {"embed_out.weight", {}},
};

constexpr GptNames kBloom = {
    .token_embedding = "transformer.word_embeddings.weight",
    .position_embedding = {},
    .embedding_norm = {"transformer.word_embeddings_layernorm.weight",
                       "transformer.word_embeddings_layernorm.bias"},
    .block_prefix = "transformer.h.",
    .first_norm = {"input_layernorm.weight", "input_layernorm.bias"},
    .qkv = {"self_attention.query_key_value.weight", "self_attention.query_key_value.bias"},
    .attention_output = {"self_attention.dense.weight", "self_attention.dense.bias"},
    .second_norm = {"post_attention_layernorm.weight", "post_attention_layernorm.bias"},
    .ffn_up = {"mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias"},
    .ffn_down = {"mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.bias"},
    .final_norm = {"transformer.ln_f.weight", "transformer.ln_f.bias"},
    .lm_head = {"lm_head.weight", {}},
};

/// A linear layer where GPT-2 has its transposed Conv1D.
constexpr GptNames gpt_bigcode_names() {
    GptNames names = kGpt2;
    names.inputs_are_rows = false;
    return names;
}
constexpr GptNames kGptBigcode = gpt_bigcode_names();

constexpr GptNames falcon_names() {
    GptNames names = kBloom;
    names.embedding_norm = {};
    return names;
}
constexpr GptNames kFalcon = falcon_names();
/// With a norm for each branch (new_decoder_architecture).
constexpr Names kFalconAttentionNorm = {"ln_attn.weight", "ln_attn.bias"};
constexpr Names kFalconFfnNorm = {"ln_mlp.weight", "ln_mlp.bias"};

const GptNames& gpt_names_of(TensorNaming naming) {
    switch (naming) {
        case TensorNaming::gpt_bigcode: return kGptBigcode;
        case TensorNaming::falcon: return kFalcon;
        case TensorNaming::mpt: return kMpt;
        case TensorNaming::gpt_neox: return kGptNeox;
        case TensorNaming::bloom: return kBloom;
        default: return kGpt2;
    }
}

}  // namespace

void build_gpt_ends(const ModelConfig& config, ParameterLayout& layout) {
    const GptNames& names = gpt_names_of(config.naming);
    layout.embedding.reserve(4);
    add_embedding(layout.embedding, names.token_embedding, config.vocab_size,
                  Component::token_embedding, config);
    if (config.position_encoding == PositionEncoding::learned_absolute) {
        add_embedding(layout.embedding, names.position_embedding, config.max_position_embeddings,
                      Component::position_embedding, config);
    }
    if (config.embedding_norm) add_norm(layout.embedding, names.embedding_norm, config);
    layout.head.reserve(3);
    add_norm(layout.head, names.final_norm, config);
    add_head(layout.head, names.lm_head, config);
}

BlockLayout gpt_block(const ModelConfig& config) {
    const GptNames& names = gpt_names_of(config.naming);
    const std::int64_t hidden = config.hidden_size;
    BlockLayout block{.prefix = names.block_prefix, .layers = {}, .tensors = {}};
    Tensors& tensors = block.tensors;
    tensors.reserve(12);
    const bool two_falcon_norms =
        config.naming == TensorNaming::falcon && config.parallel_residual && !config.shared_norm;
    add_norm(tensors, two_falcon_norms ? kFalconAttentionNorm : names.first_norm, config);
    add_linear(tensors, names.qkv,
               {.outputs = config.query_width() + 2 * config.key_value_width(),
                .inputs = hidden,
                .has_bias = config.qkv_bias,
                .inputs_are_rows = names.inputs_are_rows});
    add_linear(tensors, names.attention_output,
               {.outputs = hidden,
                .inputs = config.attention_output_width(),
                .has_bias = config.attention_output_bias,
                .inputs_are_rows = names.inputs_are_rows});
    if (!config.shared_norm)
        add_norm(tensors, two_falcon_norms ? kFalconFfnNorm : names.second_norm, config);
    add_linear(tensors, names.ffn_up,
               {.outputs = config.intermediate_size,
                .inputs = hidden,
                .component = Component::ffn,
                .has_bias = config.ffn_bias,
                .inputs_are_rows = names.inputs_are_rows});
    add_linear(tensors, names.ffn_down,
               {.outputs = hidden,
                .inputs = config.intermediate_size,
                .component = Component::ffn,
                .has_bias = config.ffn_bias,
                .inputs_are_rows = names.inputs_are_rows});
    return block;
}

}  // namespace isoflop::model::parts
