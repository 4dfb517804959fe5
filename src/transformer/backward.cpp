// Backward: grad.residual carries the gradient of the residual stream from the final norm down to
// the embedding.
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/reduction.hpp"
#include "step.hpp"

namespace isoflop::transformer {

using Implementation = Transformer::Implementation;

void Implementation::final_norm_backward() {
    const TensorView unit = strategy_.acquire_weights(head_unit());
    const TensorView gradients = strategy_.acquire_gradients(head_unit());
    const TensorView residual = hidden(BufferId::grad_residual);
    ops::norm_backward(
        context_, slots_.final_norm.in(unit, config_), residual, hidden(BufferId::final_norm_input),
        norm_statistics(BufferId::final_norm_statistics, 0), false, residual,
        slots_.final_norm.weight.in(gradients), slots_.final_norm.bias.in(gradients));
    strategy_.release_weights(head_unit());
    strategy_.gradients_ready(head_unit());
}

void Implementation::block_backward(std::int64_t layer) {
    const device::ProfileRange range(context_.device, "block backward");
    if (execution_.recompute == cost::Recompute::block) {
        const Extent extent = is_pre_norm() ? Extent::without_last_product : Extent::whole;
        block_forward(layer, cost::Pass::recompute, extent);
    }
    const std::size_t unit_index = block_unit(layer);
    const TensorView unit = strategy_.acquire_weights(unit_index);
    if (layer > 0) strategy_.prefetch_weights(block_unit(layer - 1));
    const TensorView gradients = strategy_.acquire_gradients(unit_index);
    ffn_backward(layer, unit, gradients);
    attention_backward(layer, unit, gradients);
    strategy_.release_weights(unit_index);
    strategy_.gradients_ready(unit_index);
}

/// Gradient of a branch's output: that of the residual stream, through the branch's dropout.
TensorView Implementation::branch_gradient(std::int64_t layer, ops::DropoutSite site) {
    const TensorView residual = hidden(BufferId::grad_residual);
    if (config_.dropout <= 0) return residual;
    const TensorView branch = hidden(BufferId::grad_branch);
    ops::copy(context_, residual, branch);
    apply_dropout(layer, site, branch);
    return branch;
}

void Implementation::ffn_backward(std::int64_t layer, const TensorView& unit,
                                  const TensorView& gradients) {
    const BlockSlots& slots = slots_.block;
    const TensorView residual = hidden(BufferId::grad_residual);
    const TensorView d_input = hidden(BufferId::grad_branch);
    if (!is_pre_norm()) {
        ops::norm_backward(context_, slots.ffn_norm.in(unit, config_), residual,
                           hidden(BufferId::ffn_normed, layer),
                           norm_statistics(BufferId::ffn_norm_statistics, layer), false, residual,
                           slots.ffn_norm.weight.in(gradients), slots.ffn_norm.bias.in(gradients));
    }
    const TensorView in = wide(ffn_in_buffer(), layer, ffn_in_width());
    const TensorView activated = wide(BufferId::ffn_activated, layer, config_.intermediate_size);
    const TensorView d_activated = wide(BufferId::grad_ffn_activated, 0, config_.intermediate_size);
    const TensorView d_branch = branch_gradient(layer, ops::DropoutSite::ffn_branch);
    const ops::Linear out_layer = slots.ffn_out.in(unit);
    ops::linear_backward_weight(context_, out_layer, activated, d_branch,
                                slots.ffn_out.weight.in(gradients),
                                slots.ffn_out.bias.in(gradients));
    TensorView d_in = d_activated;
    if (config_.is_gated()) {
        ops::linear_backward_input(context_, out_layer, d_branch, false, d_activated);
        d_in = wide(BufferId::grad_ffn_gate_up, 0, ffn_in_width());
        ops::gated_backward(context_, config_.activation, in, d_activated, d_in);
    } else {
        ops::linear_activation_backward_input(context_, out_layer, config_.activation, d_branch, in,
                                              d_in);
    }
    const TensorView input =
        is_pre_norm() ? hidden(BufferId::ffn_normed, layer) : hidden(BufferId::ffn_input, layer);
    const ops::Linear in_layer = slots.ffn_in.in(unit);
    ops::linear_backward_weight(context_, in_layer, input, d_in, slots.ffn_in.weight.in(gradients),
                                slots.ffn_in.bias.in(gradients));
    ops::linear_backward_input(context_, in_layer, d_in, false, d_input);
    if (is_pre_norm()) {
        ops::norm_backward(context_, slots.ffn_norm.in(unit, config_), d_input,
                           hidden(BufferId::ffn_input, layer),
                           norm_statistics(BufferId::ffn_norm_statistics, layer), true, residual,
                           slots.ffn_norm.weight.in(gradients), slots.ffn_norm.bias.in(gradients));
    } else {
        ops::add(context_, residual, d_input, residual);
    }
}

void Implementation::attention_backward(std::int64_t layer, const TensorView& unit,
                                        const TensorView& gradients) {
    const BlockSlots& slots = slots_.block;
    const TensorView residual = hidden(BufferId::grad_residual);
    const TensorView d_input = hidden(BufferId::grad_branch);
    if (!is_pre_norm()) {
        ops::norm_backward(context_, slots.attention_norm.in(unit, config_), residual,
                           hidden(BufferId::attention_normed, layer),
                           norm_statistics(BufferId::attention_norm_statistics, layer), false,
                           residual, slots.attention_norm.weight.in(gradients),
                           slots.attention_norm.bias.in(gradients));
    }
    if (execution_.recompute == cost::Recompute::attention) attend(layer, cost::Pass::recompute);
    const TensorView output =
        wide(BufferId::attention_output, layer, config_.attention_output_width());
    const TensorView d_output =
        wide(BufferId::grad_attention_output, 0, config_.attention_output_width());
    const TensorView d_branch = branch_gradient(layer, ops::DropoutSite::attention_branch);
    const ops::Linear out_layer = slots.attention_output.in(unit);
    ops::linear_backward_weight(context_, out_layer, output, d_branch,
                                slots.attention_output.weight.in(gradients),
                                slots.attention_output.bias.in(gradients));
    ops::linear_backward_input(context_, out_layer, d_branch, false, d_output);

    const TensorView d_qkv = wide(BufferId::grad_attention_qkv, 0, qkv_width());
    attend_backward(layer);
    const std::int64_t rotated_heads = config_.num_attention_heads + config_.num_key_value_heads;
    if (config_.position_encoding == model::PositionEncoding::rope) {
        ops::rope_backward(context_, rope_,
                           {rotated_heads, config_.head_dim, execution_.sequence_length, 0}, d_qkv);
    }
    if (slots.query_norm.exists()) {
        const ops::QkNormShape shape{config_.num_attention_heads, config_.num_key_value_heads,
                                     config_.head_dim, config_.norm_eps};
        ops::qk_norm_backward(
            context_, shape, slots.query_norm.in(unit), slots.key_norm.in(unit),
            wide(BufferId::attention_qk_before_norm, layer, rotated_heads * config_.head_dim),
            memory_.tensor(BufferId::attention_qk_norm_statistics, layer,
                           {tokens(), rotated_heads}),
            d_qkv, slots.query_norm.in(gradients), slots.key_norm.in(gradients));
    }
    const TensorView input =
        is_pre_norm() ? hidden(BufferId::attention_normed, layer) : block_input(layer);
    const ops::Linear in_layer = slots.qkv.in(unit);
    ops::linear_backward_weight(context_, in_layer, input, d_qkv, slots.qkv.weight.in(gradients),
                                slots.qkv.bias.in(gradients));
    ops::linear_backward_input(context_, in_layer, d_qkv, false, d_input);
    if (is_pre_norm()) {
        ops::norm_backward(
            context_, slots.attention_norm.in(unit, config_), d_input, block_input(layer),
            norm_statistics(BufferId::attention_norm_statistics, layer), true, residual,
            slots.attention_norm.weight.in(gradients), slots.attention_norm.bias.in(gradients));
    } else {
        ops::add(context_, residual, d_input, residual);
    }
}

void Implementation::attend_backward(std::int64_t layer) {
    const attention::Shape shape = attention_shape();
    const attention::BackwardArguments arguments = attention_backward_arguments(layer);
    if (is_manual() && execution_.manual_head_chunk > 0) {
        attention::backward_in_head_chunks(*attention_, context_, shape, arguments,
                                           execution_.chunk_heads(shape.heads, shape.kv_heads));
    } else {
        attention_->backward(context_, shape, arguments);
    }
}

attention::BackwardArguments Implementation::attention_backward_arguments(
    std::int64_t layer) const {
    const std::int64_t S = execution_.sequence_length;
    const std::int64_t width = config_.attention_output_width();
    const attention::Shape shape = attention_shape();
    const PackedHeads heads =
        packed_heads(wide(BufferId::attention_qkv, layer, qkv_width()), config_, S);
    const PackedHeads d_heads =
        packed_heads(wide(BufferId::grad_attention_qkv, 0, qkv_width()), config_, S);
    attention::BackwardArguments arguments;
    arguments.q = heads.q;
    arguments.k = heads.k;
    arguments.v = heads.v;
    arguments.o = plain_heads(wide(BufferId::attention_output, layer, width), config_, S);
    arguments.d_o = plain_heads(wide(BufferId::grad_attention_output, 0, width), config_, S);
    arguments.d_q = d_heads.q;
    arguments.d_k = d_heads.k;
    arguments.d_v = d_heads.v;
    if (is_manual()) {
        arguments.probabilities = per_score(BufferId::attention_probabilities, layer);
        arguments.d_scores =
            execution_.manual_head_chunk > 0
                ? memory_.tensor(BufferId::grad_attention_scores, 0,
                                 {1, execution_.chunk_heads(shape.heads, shape.kv_heads),
                                  shape.query_length, shape.key_length})
                : per_score(BufferId::grad_attention_scores, 0);
        return arguments;
    }
    arguments.lse = memory_.tensor(BufferId::attention_lse, layer,
                                   {shape.batch, shape.heads, shape.query_length});
    arguments.row_sums = memory_.tensor(BufferId::grad_attention_row_sums, 0,
                                        {shape.batch, shape.heads, shape.query_length});
    if (memory_.has(BufferId::grad_attention_q_accumulator)) {
        arguments.d_q_sums =
            memory_.tensor(BufferId::grad_attention_q_accumulator, 0,
                           {shape.batch, shape.heads, shape.query_length, shape.head_dim});
    }
    if (memory_.has(BufferId::grad_attention_workspace))
        arguments.workspace = memory_.bytes_of(BufferId::grad_attention_workspace);
    return arguments;
}

void Implementation::embed_backward() {
    const TensorView gradients = strategy_.acquire_gradients(0);
    const TensorView residual = hidden(BufferId::grad_residual);
    apply_dropout(0, ops::DropoutSite::embedding, residual);
    ops::embedding_backward(context_, batch_.tokens, residual, execution_.sequence_length,
                            slots_.token_embedding.in(gradients),
                            slots_.position_embedding.in(gradients));
    strategy_.gradients_ready(0);
}

}  // namespace isoflop::transformer
