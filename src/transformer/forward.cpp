// Forward: embedding, blocks, final norm, LM head and loss in chunks of tokens.
#include <algorithm>

#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/reduction.hpp"
#include "step.hpp"

namespace isoflop::transformer {

using Implementation = Transformer::Implementation;

void Implementation::embed() {
    const TensorView unit = strategy_.acquire_weights(0);
    strategy_.prefetch_weights(block_unit(0));
    const TensorView out = block_input(0);
    ops::embedding_forward(context_, batch_.tokens, slots_.token_embedding.in(unit),
                           slots_.position_embedding.in(unit), execution_.sequence_length, 0, out);
    strategy_.release_weights(0);
    apply_dropout(0, ops::DropoutSite::embedding, out);
}

void Implementation::block_forward(std::int64_t layer, cost::Pass pass, Extent extent) {
    const device::ProfileRange range(
        context_.device, pass == cost::Pass::recompute ? "block recompute" : "block forward");
    const TensorView unit = strategy_.acquire_weights(block_unit(layer));
    if (pass == cost::Pass::forward) strategy_.prefetch_weights(block_unit(layer) + 1);
    const TensorView input = block_input(layer);
    const TensorView branch = hidden(BufferId::block_branch_output);
    if (is_pre_norm()) {
        const TensorView normed = hidden(BufferId::attention_normed, layer);
        ops::norm_forward(context_, slots_.block.attention_norm.in(unit, config_), input, normed,
                          norm_statistics(BufferId::attention_norm_statistics, layer));
        attention_branch(layer, unit, normed, pass);
        const TensorView ffn_normed = hidden(BufferId::ffn_normed, layer);
        ops::add_norm_forward(context_, slots_.block.ffn_norm.in(unit, config_), input, branch,
                              hidden(BufferId::ffn_input, layer), ffn_normed,
                              norm_statistics(BufferId::ffn_norm_statistics, layer));
        ffn_branch(layer, unit, ffn_normed, pass, extent);
        if (extent == Extent::whole) {
            ops::add(context_, hidden(BufferId::ffn_input, layer), branch, block_input(layer + 1));
        }
    } else {
        // The buffers that hold normed inputs in a pre-norm block hold the sums that are normed
        // here.
        attention_branch(layer, unit, input, pass);
        const TensorView ffn_input = hidden(BufferId::ffn_input, layer);
        ops::add_norm_forward(context_, slots_.block.attention_norm.in(unit, config_), input,
                              branch, hidden(BufferId::attention_normed, layer), ffn_input,
                              norm_statistics(BufferId::attention_norm_statistics, layer));
        ffn_branch(layer, unit, ffn_input, pass, Extent::whole);
        ops::add_norm_forward(context_, slots_.block.ffn_norm.in(unit, config_), ffn_input, branch,
                              hidden(BufferId::ffn_normed, layer), block_input(layer + 1),
                              norm_statistics(BufferId::ffn_norm_statistics, layer));
    }
    strategy_.release_weights(block_unit(layer));
}

/// input -> block.branch_output
void Implementation::attention_branch(std::int64_t layer, const TensorView& unit,
                                      const TensorView& input, cost::Pass pass) {
    const TensorView qkv = wide(BufferId::attention_qkv, layer, qkv_width());
    const std::int64_t rotated_heads = config_.num_attention_heads + config_.num_key_value_heads;
    ops::linear_forward(context_, slots_.block.qkv.in(unit), input, qkv, pass);
    if (slots_.block.query_norm.exists()) {
        const ops::QkNormShape shape{config_.num_attention_heads, config_.num_key_value_heads,
                                     config_.head_dim, config_.norm_eps};
        ops::qk_norm_forward(
            context_, shape, slots_.block.query_norm.in(unit), slots_.block.key_norm.in(unit), qkv,
            wide(BufferId::attention_qk_before_norm, layer, rotated_heads * config_.head_dim),
            memory_.tensor(BufferId::attention_qk_norm_statistics, layer,
                           {tokens(), rotated_heads}));
    }
    if (config_.position_encoding == model::PositionEncoding::rope) {
        const ops::RopeShape shape{rotated_heads, config_.head_dim, execution_.sequence_length, 0};
        ops::rope_forward(context_, rope_, shape, qkv);
    }
    attend(layer, pass);
    const TensorView branch = hidden(BufferId::block_branch_output);
    ops::linear_forward(context_, slots_.block.attention_output.in(unit),
                        wide(BufferId::attention_output, layer, config_.attention_output_width()),
                        branch, pass);
    apply_dropout(layer, ops::DropoutSite::attention_branch, branch);
}

/// attention.qkv -> attention.output
void Implementation::attend(std::int64_t layer, cost::Pass pass) {
    attention::ForwardArguments arguments = attention_arguments(layer);
    arguments.pass = pass;
    attention_->forward(context_, attention_shape(), arguments);
}

attention::ForwardArguments Implementation::attention_arguments(std::int64_t layer) const {
    const PackedHeads heads = packed_heads(wide(BufferId::attention_qkv, layer, qkv_width()),
                                           config_, execution_.sequence_length);
    const attention::Shape shape = attention_shape();
    attention::ForwardArguments arguments;
    arguments.q = heads.q;
    arguments.k = heads.k;
    arguments.v = heads.v;
    arguments.o =
        plain_heads(wide(BufferId::attention_output, layer, config_.attention_output_width()),
                    config_, execution_.sequence_length);
    if (is_manual()) {
        arguments.probabilities = per_score(BufferId::attention_probabilities, layer);
    } else {
        arguments.lse = memory_.tensor(BufferId::attention_lse, layer,
                                       {shape.batch, shape.heads, shape.query_length});
    }
    return arguments;
}

/// input -> block.branch_output
void Implementation::ffn_branch(std::int64_t layer, const TensorView& unit, const TensorView& input,
                                cost::Pass pass, Extent extent) {
    const TensorView in = wide(ffn_in_buffer(), layer, ffn_in_width());
    const TensorView activated = wide(BufferId::ffn_activated, layer, config_.intermediate_size);
    const ops::Linear in_layer = slots_.block.ffn_in.in(unit);
    if (config_.is_gated()) {
        ops::linear_forward(context_, in_layer, input, in, pass);
        ops::gated_forward(context_, config_.activation, in, activated);
    } else {
        ops::linear_activation_forward(context_, in_layer, config_.activation, input, in, activated,
                                       pass);
    }
    if (extent == Extent::without_last_product) return;
    const TensorView branch = hidden(BufferId::block_branch_output);
    ops::linear_forward(context_, slots_.block.ffn_out.in(unit), activated, branch, pass);
    apply_dropout(layer, ops::DropoutSite::ffn_branch, branch);
}

device::DeferredValue Implementation::loss(bool train, double loss_scale) {
    const device::ProfileRange range(context_.device, "loss");
    const std::size_t table_unit = is_tied() ? 0 : head_unit();
    const TensorView head = strategy_.acquire_weights(head_unit());
    const TensorView table = is_tied() ? strategy_.acquire_weights(0) : head;
    ops::norm_forward(context_, slots_.final_norm.in(head, config_),
                      hidden(BufferId::final_norm_input), hidden(BufferId::final_norm_output),
                      norm_statistics(BufferId::final_norm_statistics, 0));
    const TensorView weight = (is_tied() ? slots_.token_embedding : slots_.lm_head).in(table);
    const std::int64_t chunk = cost::loss_chunk_tokens(execution_, config_.vocab_size);
    for (std::int64_t first = 0; first < tokens(); first += chunk) {
        loss_chunk(first, std::min(chunk, tokens() - first), weight, train, loss_scale);
    }
    if (is_tied()) strategy_.release_weights(table_unit);
    strategy_.release_weights(head_unit());

    return ops::deferred_sum(context_, memory_.tensor(BufferId::losses, 0, {tokens()}));
}

/// Logits of some tokens, their losses and, in training, the gradients of the head and of the final
/// norm's output.
void Implementation::loss_chunk(std::int64_t first, std::int64_t rows,
                                const TensorView& head_weight, bool train, double loss_scale) {
    const TensorView input = hidden(BufferId::final_norm_output).row_range(first, rows);
    const TensorView logits = memory_.tensor(BufferId::logits, 0, {rows, config_.vocab_size});
    const TensorView losses =
        memory_.tensor(BufferId::losses, 0, {tokens()}).flat_range(first, rows);
    const auto targets =
        batch_.targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    const ops::Linear head{"lm_head", head_weight, {}, ops::WeightOrder::out_in};
    ops::linear_forward(context_, head, input, logits);
    if (!train) {
        ops::cross_entropy_forward(context_, logits, targets, ignore_index_, losses);
        return;
    }
    ops::cross_entropy_forward_backward(context_, logits, targets, ignore_index_, loss_scale,
                                        losses);
    const std::size_t table_unit = is_tied() ? 0 : head_unit();
    const TensorView gradients = strategy_.acquire_gradients(table_unit);
    const TensorView d_weight = (is_tied() ? slots_.token_embedding : slots_.lm_head).in(gradients);
    ops::linear_backward_weight(context_, head, input, logits, d_weight, {});
    ops::linear_backward_input(context_, head, logits, false,
                               hidden(BufferId::grad_residual).row_range(first, rows));
}

}  // namespace isoflop::transformer
