// Forward: embedding, blocks, final norm, LM head and loss in chunks of tokens.
#include <algorithm>

#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"
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
    if (config_.embedding_scale != 1) ops::scale(context_, embedding_factor(), out);
    apply_dropout(0, ops::DropoutSite::embedding, out);
}

void Implementation::block_forward(std::int64_t layer, cost::Pass pass, Extent extent) {
    const device::ProfileRange range(
        context_.device, pass == cost::Pass::recompute ? "block recompute" : "block forward");
    const TensorView unit = strategy_.acquire_weights(block_unit(layer));
    if (pass == cost::Pass::forward) strategy_.prefetch_weights(block_unit(layer) + 1);
    const TensorView input = block_input(layer);
    const TensorView branch = hidden(BufferId::block_branch_output);
    if (config_.parallel_residual) {
        parallel_block(layer, unit, pass, extent);
    } else if (model::norms_branches(config_)) {
        branch_norm_block(layer, unit, pass);
    } else if (is_pre_norm()) {
        const TensorView normed = hidden(BufferId::attention_normed, layer);
        ops::norm_forward(context_, slots_.block.attention_norm.in(unit, config_), input, normed,
                          norm_statistics(BufferId::attention_norm_statistics, layer));
        attention_branch(layer, unit, normed, branch, pass);
        const TensorView ffn_normed = hidden(BufferId::ffn_normed, layer);
        ops::add_norm_forward(context_, slots_.block.ffn_norm.in(unit, config_), input, branch,
                              hidden(BufferId::ffn_input, layer), ffn_normed,
                              norm_statistics(BufferId::ffn_norm_statistics, layer));
        ffn_branch(layer, unit, ffn_normed, branch, pass, extent);
        if (extent == Extent::whole) {
            ops::add(context_, hidden(BufferId::ffn_input, layer), branch, block_input(layer + 1));
        }
    } else {
        // The buffers that hold normed inputs in a pre-norm block hold the sums that are normed
        // here.
        attention_branch(layer, unit, input, branch, pass);
        const TensorView ffn_input = hidden(BufferId::ffn_input, layer);
        ops::add_norm_forward(context_, slots_.block.attention_norm.in(unit, config_), input,
                              branch, hidden(BufferId::attention_normed, layer), ffn_input,
                              norm_statistics(BufferId::attention_norm_statistics, layer));
        ffn_branch(layer, unit, ffn_input, branch, pass, Extent::whole);
        ops::add_norm_forward(context_, slots_.block.ffn_norm.in(unit, config_), ffn_input, branch,
                              hidden(BufferId::ffn_normed, layer), block_input(layer + 1),
                              norm_statistics(BufferId::ffn_norm_statistics, layer));
    }
    strategy_.release_weights(block_unit(layer));
}

/// x + attention(norm(x)) + ffn(norm(x)), with one norm or two.
void Implementation::parallel_block(std::int64_t layer, const TensorView& unit, cost::Pass pass,
                                    Extent extent) {
    const TensorView input = block_input(layer);
    const TensorView branch = hidden(BufferId::block_branch_output);
    const TensorView normed = attention_source(layer);
    ops::norm_forward(context_, slots_.block.attention_norm.in(unit, config_), input, normed,
                      norm_statistics(BufferId::attention_norm_statistics, layer));
    attention_branch(layer, unit, normed, branch, pass, extent);
    const TensorView ffn_in = ffn_source(layer);
    if (!config_.shared_norm) {
        ops::norm_forward(context_, slots_.block.ffn_norm.in(unit, config_), input, ffn_in,
                          norm_statistics(BufferId::ffn_norm_statistics, layer));
    }
    if (extent == Extent::without_last_product) {
        ffn_branch(layer, unit, ffn_in, branch, pass, extent);
        return;
    }
    const TensorView output = block_input(layer + 1);
    ops::add(context_, input, branch, output);
    ffn_branch(layer, unit, ffn_in, branch, pass, extent);
    ops::add(context_, output, branch, output);
}

/// x + norm(f(x)), or with four norms x + norm(f(norm(x))).
void Implementation::branch_norm_block(std::int64_t layer, const TensorView& unit,
                                       cost::Pass pass) {
    const BlockSlots& slots = slots_.block;
    const TensorView input = block_input(layer);
    const TensorView branch = hidden(BufferId::block_branch_output);
    const TensorView ffn_input = hidden(BufferId::ffn_input, layer);
    if (is_sandwich()) {
        ops::norm_forward(context_, slots.attention_norm.in(unit, config_), input,
                          attention_source(layer),
                          norm_statistics(BufferId::attention_norm_statistics, layer));
    }
    const TensorView attention_output = hidden(attention_branch_buffer(), layer);
    attention_branch(layer, unit, attention_source(layer), attention_output, pass);
    ops::norm_forward(context_, slots.attention_branch_norm.in(unit, config_), attention_output,
                      branch, attention_branch_statistics(layer));
    if (is_sandwich()) {
        ops::add_norm_forward(context_, slots.ffn_norm.in(unit, config_), input, branch, ffn_input,
                              ffn_source(layer),
                              norm_statistics(BufferId::ffn_norm_statistics, layer));
    } else {
        ops::add(context_, input, branch, ffn_input);
    }
    const TensorView ffn_output = hidden(ffn_branch_buffer(), layer);
    ffn_branch(layer, unit, ffn_source(layer), ffn_output, pass, Extent::whole);
    ops::norm_forward(context_, slots.ffn_branch_norm.in(unit, config_), ffn_output, branch,
                      ffn_branch_statistics(layer));
    ops::add(context_, ffn_input, branch, block_input(layer + 1));
}

/// input -> branch
void Implementation::attention_branch(std::int64_t layer, const TensorView& unit,
                                      const TensorView& input, const TensorView& branch,
                                      cost::Pass pass, Extent extent) {
    const TensorView qkv = wide(BufferId::attention_qkv, layer, qkv_width());
    ops::linear_forward(context_, slots_.block.qkv.in(unit), input, qkv, pass);
    norm_queries_and_keys(layer, unit);
    if (const ops::RopeTable* table = rope_of(layer); table != nullptr) {
        ops::rope_forward(context_, *table, rope_shape(config_, execution_.sequence_length, 0),
                          qkv);
    }
    attend(layer, pass);
    if (extent == Extent::without_last_product) return;
    ops::linear_forward(context_, slots_.block.attention_output.in(unit),
                        wide(BufferId::attention_output, layer, config_.attention_output_width()),
                        branch, pass);
    apply_dropout(layer, ops::DropoutSite::attention_branch, branch);
    apply_residual_scale(branch);
}

void Implementation::norm_queries_and_keys(std::int64_t layer, const TensorView& unit) {
    if (!slots_.block.query_norm.exists()) return;
    qk_norm_forward(context_, config_, qk_norm_tensors(layer, unit));
}

/// attention.qkv -> attention.output
void Implementation::attend(std::int64_t layer, cost::Pass pass) {
    attention::ForwardArguments arguments = attention_arguments(layer);
    arguments.pass = pass;
    attention_->forward(context_, attention_shape(layer), arguments);
}

attention::ForwardArguments Implementation::attention_arguments(std::int64_t layer) const {
    const PackedHeads heads = packed_heads(wide(BufferId::attention_qkv, layer, qkv_width()),
                                           config_, execution_.sequence_length);
    const attention::Shape shape = attention_shape(layer);
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

/// input -> branch
void Implementation::ffn_branch(std::int64_t layer, const TensorView& unit, const TensorView& input,
                                const TensorView& branch, cost::Pass pass, Extent extent) {
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
    ops::linear_forward(context_, slots_.block.ffn_out.in(unit), activated, branch, pass);
    apply_dropout(layer, ops::DropoutSite::ffn_branch, branch);
    apply_residual_scale(branch);
}

device::DeferredValue Implementation::loss(bool train, double loss_scale) {
    const device::ProfileRange range(context_.device, "loss");
    const std::size_t table_unit = is_tied() ? 0 : head_unit();
    const TensorView head = strategy_.acquire_weights(head_unit());
    const TensorView table = is_tied() ? strategy_.acquire_weights(0) : head;
    ops::norm_forward(context_, slots_.final_norm.in(head, config_),
                      hidden(BufferId::final_norm_input), hidden(BufferId::final_norm_output),
                      norm_statistics(BufferId::final_norm_statistics, 0));
    const ops::Linear linear{"lm_head",
                             (is_tied() ? slots_.token_embedding : slots_.lm_head).in(table),
                             slots_.lm_head_bias.in(head), ops::WeightOrder::out_in};
    const std::int64_t chunk = cost::loss_chunk_tokens(execution_, config_.vocab_size);
    for (std::int64_t first = 0; first < tokens(); first += chunk) {
        loss_chunk(first, std::min(chunk, tokens() - first), linear, train, loss_scale);
    }
    if (is_tied()) strategy_.release_weights(table_unit);
    strategy_.release_weights(head_unit());

    return ops::deferred_sum(context_, memory_.tensor(BufferId::losses, 0, {tokens()}));
}

/// Logits of some tokens, their losses and, in training, the gradients of the head and of the final
/// norm's output.
void Implementation::loss_chunk(std::int64_t first, std::int64_t rows, const ops::Linear& head,
                                bool train, double loss_scale) {
    const TensorView input = hidden(BufferId::final_norm_output).row_range(first, rows);
    const TensorView logits = memory_.tensor(BufferId::logits, 0, {rows, config_.vocab_size});
    const TensorView losses =
        memory_.tensor(BufferId::losses, 0, {tokens()}).flat_range(first, rows);
    const auto targets =
        batch_.targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    ops::linear_forward(context_, head, input, logits);
    finish_logits(logits);
    if (!train) {
        ops::cross_entropy_forward(context_, logits, targets, ignore_index_, losses);
        return;
    }
    ops::cross_entropy_forward_backward(context_, logits, targets, ignore_index_, loss_scale,
                                        losses);
    finish_logits_backward(logits);
    const std::size_t table_unit = is_tied() ? 0 : head_unit();
    const TensorView gradients = strategy_.acquire_gradients(table_unit);
    const TensorView d_weight = (is_tied() ? slots_.token_embedding : slots_.lm_head).in(gradients);
    const TensorView d_bias =
        slots_.lm_head_bias.exists()
            ? slots_.lm_head_bias.in(is_tied() ? strategy_.acquire_gradients(head_unit())
                                               : gradients)
            : TensorView();
    ops::linear_backward_weight(context_, head, input, logits, d_weight, d_bias);
    ops::linear_backward_input(context_, head, logits, false,
                               hidden(BufferId::grad_residual).row_range(first, rows));
}

/// Scales and caps them.
void Implementation::finish_logits(const TensorView& logits) {
    if (config_.logit_scale != 1) ops::scale(context_, config_.logit_scale, logits);
    if (!config_.final_logit_soft_cap) return;
    ops::soft_cap_forward(context_, *config_.final_logit_soft_cap, logits);
    // The loss turns the logits into their gradients in place.
    if (training_) ops::copy(context_, logits, capped_logits(logits));
}

/// The gradient of what finish_logits left becomes that of the product's output.
void Implementation::finish_logits_backward(const TensorView& logits) {
    if (config_.final_logit_soft_cap) {
        ops::soft_cap_backward(context_, *config_.final_logit_soft_cap, capped_logits(logits),
                               logits);
    }
    if (config_.logit_scale != 1) ops::scale(context_, config_.logit_scale, logits);
}

TensorView Implementation::capped_logits(const TensorView& logits) const {
    return memory_.tensor(BufferId::logits_capped, 0, {logits.dim(0), logits.dim(1)});
}

}  // namespace isoflop::transformer
