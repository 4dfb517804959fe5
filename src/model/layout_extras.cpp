// Parts that single families have beside attention and feed-forward networks: the indexer of
// DeepSeek-V3.2, and the streams and embeddings of Gemma-3n.
#include "layout_parts.hpp"

namespace isoflop::model::parts {

void add_indexer(Tensors& tensors, const ModelConfig& config) {
    const std::int64_t width = config.index_head_dim;
    add_linear(tensors, {"self_attn.indexer.wq_b.weight", {}},
               {.outputs = config.index_heads * width,
                .inputs = config.mla->q_lora_rank.value_or(config.hidden_size)});
    add_linear(tensors, {"self_attn.indexer.wk.weight", {}},
               {.outputs = width, .inputs = config.hidden_size});
    add_linear(tensors, {"self_attn.indexer.weights_proj.weight", {}},
               {.outputs = config.index_heads, .inputs = config.hidden_size});
    add_vector(tensors, "self_attn.indexer.k_norm.weight", width, Component::attention);
    add_vector(tensors, "self_attn.indexer.k_norm.bias", width, Component::attention);
}

void add_alternating_updates(Tensors& tensors, const ModelConfig& config) {
    const AlternatingUpdates& updates = *config.alternating_updates;
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t streams = updates.num_streams;
    const auto add = [&](std::string_view name, std::int64_t outputs, std::int64_t inputs,
                         Component component) {
        add_linear(tensors, {name, {}},
                   {.outputs = outputs, .inputs = inputs, .component = component});
    };
    add("altup.modality_router.weight", streams, hidden, Component::ffn);
    add("altup.prediction_coefs.weight", streams * streams, streams, Component::ffn);
    add("altup.correction_coefs.weight", streams, streams, Component::ffn);
    add_vector(tensors, "altup.router_norm.weight", hidden, Component::norm);
    add_vector(tensors, "altup.correct_output_scale", hidden, Component::ffn);
    add("laurel.linear_left.weight", updates.laurel_rank, hidden, Component::attention);
    add("laurel.linear_right.weight", hidden, updates.laurel_rank, Component::attention);
    add_vector(tensors, "laurel.post_laurel_norm.weight", hidden, Component::norm);
    add("per_layer_input_gate.weight", updates.hidden_size_per_layer, hidden, Component::ffn);
    add("per_layer_projection.weight", hidden, updates.hidden_size_per_layer, Component::ffn);
    add_vector(tensors, "post_per_layer_input_norm.weight", hidden, Component::norm);
}

void add_alternating_ends(Tensors& embedding, const ModelConfig& config) {
    const AlternatingUpdates& updates = *config.alternating_updates;
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t width = config.num_hidden_layers * updates.hidden_size_per_layer;
    embedding.push_back({.name = "model.embed_tokens_per_layer.weight",
                         .shape = {updates.vocab_size_per_layer, width},
                         .component = Component::token_embedding});
    add_linear(embedding, {"model.per_layer_model_projection.weight", {}},
               {.outputs = width, .inputs = hidden, .component = Component::ffn});
    add_vector(embedding, "model.per_layer_projection_norm.weight", updates.hidden_size_per_layer,
               Component::norm);
    for (const std::string_view name :
         {"model.altup_projections.{e}.weight", "model.altup_unembed_projections.{e}.weight"}) {
        add_linear(embedding, {name, {}},
                   {.outputs = hidden,
                    .inputs = hidden,
                    .component = Component::ffn,
                    .copies = updates.num_streams - 1});
    }
}

}  // namespace isoflop::model::parts
