// Backward: grad.residual carries the gradient of the residual stream from the final norm down to
// the embedding.
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"
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

/// Gradient of a branch's output: that of the residual stream, through the branch's factor and
/// dropout.
TensorView Implementation::branch_gradient(std::int64_t layer, ops::DropoutSite site) {
    const TensorView residual = hidden(BufferId::grad_residual);
    if (config_.dropout <= 0 && config_.residual_scale == 1) return residual;
    const TensorView branch = hidden(BufferId::grad_branch);
    ops::copy(context_, residual, branch);
    apply_residual_scale(branch);
    apply_dropout(layer, site, branch);
    return branch;
}

void Implementation::norm_backward(const NormSlots& slots, const TensorView& unit,
                                   const TensorView& gradients, const TensorView& d_out,
                                   const TensorView& x, const TensorView& statistics,
                                   bool accumulate, const TensorView& d_x) {
    ops::norm_backward(context_, slots.in(unit, config_), d_out, x, statistics, accumulate, d_x,
                       slots.weight.in(gradients), slots.bias.in(gradients));
}

/// Gradient of what the last product of the FFN computes.
TensorView Implementation::ffn_branch_gradient(std::int64_t layer, const TensorView& unit,
                                               const TensorView& gradients) {
    const TensorView residual = hidden(BufferId::grad_residual);
    if (norms_sums()) {
        norm_backward(slots_.block.ffn_norm, unit, gradients, residual,
                      hidden(BufferId::ffn_normed, layer),
                      norm_statistics(BufferId::ffn_norm_statistics, layer), false, residual);
    }
    if (!model::norms_branches(config_))
        return branch_gradient(layer, ops::DropoutSite::ffn_branch);
    const TensorView d_branch = hidden(BufferId::grad_branch);
    norm_backward(slots_.block.ffn_branch_norm, unit, gradients, residual,
                  hidden(ffn_branch_buffer(), layer), ffn_branch_statistics(layer), false,
                  d_branch);
    apply_residual_scale(d_branch);
    apply_dropout(layer, ops::DropoutSite::ffn_branch, d_branch);
    return d_branch;
}

void Implementation::ffn_backward(std::int64_t layer, const TensorView& unit,
                                  const TensorView& gradients) {
    const BlockSlots& slots = slots_.block;
    const TensorView residual = hidden(BufferId::grad_residual);
    const TensorView in = wide(ffn_in_buffer(), layer, ffn_in_width());
    const TensorView activated = wide(BufferId::ffn_activated, layer, config_.intermediate_size);
    const TensorView d_activated = wide(BufferId::grad_ffn_activated, 0, config_.intermediate_size);
    const TensorView d_branch = ffn_branch_gradient(layer, unit, gradients);
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
    const ops::Linear in_layer = slots.ffn_in.in(unit);
    ops::linear_backward_weight(context_, in_layer, ffn_source(layer), d_in,
                                slots.ffn_in.weight.in(gradients), slots.ffn_in.bias.in(gradients));
    // The residual stream's gradient is still that of attention's output in a parallel block.
    const TensorView d_input =
        hidden(config_.parallel_residual ? BufferId::grad_parallel : BufferId::grad_branch);
    ops::linear_backward_input(context_, in_layer, d_in, false, d_input);
    if (config_.parallel_residual) return;
    if (is_pre_norm() || is_sandwich()) {
        norm_backward(slots.ffn_norm, unit, gradients, d_input, hidden(BufferId::ffn_input, layer),
                      norm_statistics(BufferId::ffn_norm_statistics, layer), true, residual);
    } else {
        ops::add(context_, residual, d_input, residual);
    }
}

/// Gradient of what the output projection of attention computes.
TensorView Implementation::attention_branch_gradient(std::int64_t layer, const TensorView& unit,
                                                     const TensorView& gradients) {
    if (!model::norms_branches(config_))
        return branch_gradient(layer, ops::DropoutSite::attention_branch);
    const TensorView d_branch = hidden(BufferId::grad_branch);
    norm_backward(slots_.block.attention_branch_norm, unit, gradients,
                  hidden(BufferId::grad_residual), hidden(attention_branch_buffer(), layer),
                  attention_branch_statistics(layer), false, d_branch);
    apply_residual_scale(d_branch);
    apply_dropout(layer, ops::DropoutSite::attention_branch, d_branch);
    return d_branch;
}

void Implementation::attention_backward(std::int64_t layer, const TensorView& unit,
                                        const TensorView& gradients) {
    const BlockSlots& slots = slots_.block;
    const TensorView residual = hidden(BufferId::grad_residual);
    if (norms_sums()) {
        norm_backward(slots.attention_norm, unit, gradients, residual,
                      hidden(BufferId::attention_normed, layer),
                      norm_statistics(BufferId::attention_norm_statistics, layer), false, residual);
    }
    if (execution_.recompute == cost::Recompute::attention) attend(layer, cost::Pass::recompute);
    const TensorView output =
        wide(BufferId::attention_output, layer, config_.attention_output_width());
    const TensorView d_output =
        wide(BufferId::grad_attention_output, 0, config_.attention_output_width());
    const TensorView d_branch = attention_branch_gradient(layer, unit, gradients);
    const ops::Linear out_layer = slots.attention_output.in(unit);
    ops::linear_backward_weight(context_, out_layer, output, d_branch,
                                slots.attention_output.weight.in(gradients),
                                slots.attention_output.bias.in(gradients));
    ops::linear_backward_input(context_, out_layer, d_branch, false, d_output);

    const TensorView d_qkv = wide(BufferId::grad_attention_qkv, 0, qkv_width());
    attend_backward(layer);
    if (const ops::RopeTable* table = rope_of(layer); table != nullptr) {
        ops::rope_backward(context_, *table, rope_shape(config_, execution_.sequence_length, 0),
                           d_qkv);
    }
    if (slots.query_norm.exists()) {
        QkNormTensors tensors = qk_norm_tensors(layer, unit);
        tensors.packed = d_qkv;
        qk_norm_backward(context_, config_, tensors, slots.query_norm.in(gradients),
                         slots.key_norm.in(gradients));
    }
    attention_input_backward(layer, unit, gradients, d_qkv);
}

/// Through the projections to queries, keys and values and the norms of the block's input.
void Implementation::attention_input_backward(std::int64_t layer, const TensorView& unit,
                                              const TensorView& gradients,
                                              const TensorView& d_qkv) {
    const BlockSlots& slots = slots_.block;
    const TensorView residual = hidden(BufferId::grad_residual);
    const ops::Linear in_layer = slots.qkv.in(unit);
    ops::linear_backward_weight(context_, in_layer, attention_source(layer), d_qkv,
                                slots.qkv.weight.in(gradients), slots.qkv.bias.in(gradients));
    const bool shares = config_.parallel_residual && config_.shared_norm;
    const TensorView d_input = hidden(shares ? BufferId::grad_parallel : BufferId::grad_branch);
    ops::linear_backward_input(context_, in_layer, d_qkv, shares, d_input);
    if (config_.parallel_residual && !shares) {
        norm_backward(slots.ffn_norm, unit, gradients, hidden(BufferId::grad_parallel),
                      block_input(layer), norm_statistics(BufferId::ffn_norm_statistics, layer),
                      true, residual);
    }
    if (is_pre_norm() || is_sandwich()) {
        norm_backward(slots.attention_norm, unit, gradients, d_input, block_input(layer),
                      norm_statistics(BufferId::attention_norm_statistics, layer), true, residual);
    } else {
        ops::add(context_, residual, d_input, residual);
    }
}

void Implementation::attend_backward(std::int64_t layer) {
    const attention::Shape shape = attention_shape(layer);
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
    const attention::Shape shape = attention_shape(layer);
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
    if (config_.embedding_scale != 1) ops::scale(context_, embedding_factor(), residual);
    ops::embedding_backward(context_, batch_.tokens, residual, execution_.sequence_length,
                            slots_.token_embedding.in(gradients),
                            slots_.position_embedding.in(gradients));
    strategy_.gradients_ready(0);
}

}  // namespace isoflop::transformer
