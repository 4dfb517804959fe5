// Buffers that the forward pass saves for the backward pass, layer by layer, and buffers of a block
// while it runs. T tokens, H hidden, a query heads, g key/value heads, d head_dim, F intermediate
// size. For a LLaMA block in 16 bits with fused attention the saved tensors come to T * (8H +
// 2(a+2g)d + 2ad + 6F + 4a) bytes and the two norm statistics.
#include "cost/activations.hpp"

#include <algorithm>

#include "cost/unit_sizes.hpp"
#include "isoflop/cost/attention_buffers.hpp"
#include "isoflop/cost/attention_support.hpp"

namespace isoflop::cost {
namespace {

using model::LayerKind;
using model::ModelConfig;

/// Tokens whose states the kernels compute together (Mamba-2: 256, delta nets: 64).
constexpr std::int64_t kRecurrenceChunkTokens = 256;

/// Collects buffers of one layer.
class ActivationList {
public:
    explicit ActivationList(const Execution& execution) : execution_(execution) {}

    /// Lifetime of the buffers that follow.
    void set(Lifetime lifetime) { lifetime_ = lifetime; }

    /// `width` elements per token.
    void per_token(BufferId id, std::int64_t width) {
        const std::uint64_t size = static_cast<std::uint64_t>(execution_.tokens()) *
                                   static_cast<std::uint64_t>(width) *
                                   element_bytes(buffer_kind(id).elements, execution_);
        buffers_.push_back({id, lifetime_, round_up(size, kBufferAlignment)});
    }
    /// `width` elements for each chunk of a sequence.
    void per_chunk(BufferId id, std::int64_t width, std::int64_t chunk_tokens) {
        const std::int64_t chunks = (execution_.sequence_length + chunk_tokens - 1) / chunk_tokens;
        const std::uint64_t size =
            static_cast<std::uint64_t>(execution_.micro_batch_size * chunks) *
            static_cast<std::uint64_t>(width) * element_bytes(buffer_kind(id).elements, execution_);
        buffers_.push_back({id, lifetime_, round_up(size, kBufferAlignment)});
    }
    /// Those of `buffers` with the current lifetime.
    void add(const std::vector<Buffer>& buffers) {
        for (const Buffer& buffer : buffers) {
            if (buffer.lifetime == lifetime_) buffers_.push_back(buffer);
        }
    }
    [[nodiscard]] std::vector<Buffer> take() { return std::move(buffers_); }

private:
    const Execution& execution_;
    Lifetime lifetime_ = Lifetime::step;
    std::vector<Buffer> buffers_;
};

/// 1/rms, and for layer norms the mean: fp32 per token.
std::int64_t norm_statistics(const ModelConfig& config) {
    return config.normalization == model::Normalization::rmsnorm ? 1 : 2;
}

void add_queries_keys_values(ActivationList& list, const ModelConfig& config) {
    const std::int64_t heads = config.num_attention_heads;
    if (config.mla) {
        const model::LatentAttention& mla = *config.mla;
        if (mla.q_lora_rank) {
            list.per_token(BufferId::attention_q_latent, *mla.q_lora_rank);
            list.per_token(BufferId::attention_q_latent_normed, *mla.q_lora_rank);
        }
        list.per_token(BufferId::attention_kv_latent, mla.kv_lora_rank + mla.qk_rope_head_dim);
        list.per_token(BufferId::attention_kv_latent_normed, mla.kv_lora_rank);
        list.per_token(BufferId::attention_q, config.query_width());
        list.per_token(BufferId::attention_k, config.query_width());
        list.per_token(BufferId::attention_v, heads * mla.v_head_dim);
        return;
    }
    const std::int64_t query_key = config.query_width() + config.key_value_width();
    list.per_token(BufferId::attention_qkv, query_key + config.key_value_width());
    if (config.qk_norm != model::QkNorm::none) {
        list.per_token(BufferId::attention_qk_before_norm, query_key);
        const bool per_head = config.qk_norm == model::QkNorm::per_head;
        list.per_token(BufferId::attention_qk_norm_statistics,
                       per_head ? heads + config.num_key_value_heads : 2);
    }
}

/// Of self-attention as the trainer runs it. No library computes latent attention, and it has no
/// chunks of heads.
std::vector<Buffer> core_buffers(const ModelConfig& config, Execution execution) {
    if (config.mla) {
        execution.manual_head_chunk = 0;
        if (execution.attention_backend == AttentionBackend::sdpa)
            execution.attention_backend = AttentionBackend::flash_attn_2;
    }
    return attention_buffers(attention_size(config, execution), execution);
}

void add_dense_ffn(ActivationList& list, const ModelConfig& config) {
    list.per_token(config.is_gated() ? BufferId::ffn_gate_up : BufferId::ffn_up,
                   (config.is_gated() ? 2 : 1) * config.intermediate_size);
    list.per_token(BufferId::ffn_activated, config.intermediate_size);
}

/// Balanced routing, no dropped tokens: every token visits k experts.
void add_expert_ffn(ActivationList& list, const ModelConfig& config) {
    const model::MixtureOfExperts& moe = *config.moe;
    const std::int64_t k = moe.num_experts_per_token;
    const std::int64_t matrices = config.is_gated() ? 3 : 2;
    list.per_token(BufferId::router_probabilities, moe.num_experts);
    list.per_token(BufferId::router_choices, 2 * k);  // expert index and weight
    list.per_token(BufferId::experts_input, k * config.hidden_size);
    list.per_token(BufferId::experts_hidden, k * matrices * moe.intermediate_size);
    list.per_token(BufferId::experts_output, k * config.hidden_size);
    if (moe.shared_width() > 0) {
        list.per_token(BufferId::shared_experts_hidden, matrices * moe.shared_width());
    }
}

/// What backward of a mixer with a state reads: its projected inputs, before and after the
/// convolution, and its output before the gate and after it. States are computed again from those
/// at the borders of chunks, as the published kernels do (Dao and Gu 2024, section 6).
void add_recurrence(ActivationList& list, const ModelConfig& config) {
    const model::Recurrence& mixer = *config.recurrence;
    const std::int64_t inner = mixer.inner_width();
    using Kind = model::RecurrenceKind;
    list.per_token(BufferId::recurrence_inputs, mixer.input_width());
    list.per_token(BufferId::recurrence_convolved, mixer.conv_channels());
    if (mixer.kind == Kind::mamba) {
        list.per_token(BufferId::recurrence_time_step,
                       inner + mixer.time_step_rank + 2 * mixer.state_size);
    }
    if (mixer.state_size > 0) {
        list.per_chunk(BufferId::recurrence_states, inner * mixer.state_size,
                       kRecurrenceChunkTokens);
    }
    list.per_token(BufferId::recurrence_output, inner);
    if (mixer.kind != Kind::short_convolution) list.per_token(BufferId::recurrence_gated, inner);
}

bool is_attention_core(BufferId id) {
    return id == BufferId::attention_output || id == BufferId::attention_probabilities ||
           id == BufferId::attention_lse;
}

}  // namespace

std::vector<Buffer> block_activations(const ModelConfig& config, const Execution& execution,
                                      const LayerKind& kind) {
    ActivationList list(execution);
    const std::int64_t H = config.hidden_size;
    const bool sandwich = config.norm_position == model::NormPosition::sandwich;
    const bool has_ffn = kind.ffn != model::FfnKind::none;
    const bool has_mixer = kind.attention || kind.recurrence;
    list.per_token(BufferId::block_input, H);
    if (has_mixer) {
        list.per_token(BufferId::attention_norm_statistics, norm_statistics(config));
        list.per_token(BufferId::attention_normed, H);
    }
    if (kind.attention) {
        add_queries_keys_values(list, config);
        list.per_token(BufferId::attention_output, config.attention_output_width());
        list.add(core_buffers(config, execution));
        if (config.attention_gate)
            list.per_token(BufferId::attention_gate, 2 * config.attention_output_width());
    }
    if (kind.recurrence) add_recurrence(list, config);
    if (has_mixer && sandwich) {
        list.per_token(BufferId::attention_branch, H);
        list.per_token(BufferId::attention_branch_norm_statistics, norm_statistics(config));
    }
    if (!has_ffn) return list.take();
    if (has_mixer && !config.parallel_residual) list.per_token(BufferId::ffn_input, H);
    if (!has_mixer || !config.shared_norm) {
        list.per_token(BufferId::ffn_norm_statistics, norm_statistics(config));
        list.per_token(BufferId::ffn_normed, H);
    }
    if (kind.ffn == model::FfnKind::mixture) {
        add_expert_ffn(list, config);
    } else {
        add_dense_ffn(list, config);
    }
    if (sandwich) {
        list.per_token(BufferId::ffn_branch, H);
        list.per_token(BufferId::ffn_branch_norm_statistics, norm_statistics(config));
    }
    return list.take();
}

std::vector<Buffer> layer_activations(const ModelConfig& config, const Execution& execution,
                                      const LayerKind& kind) {
    std::vector<Buffer> buffers = block_activations(config, execution, kind);
    if (execution.recompute == Recompute::block) {
        buffers.resize(1);  // block.input
    } else if (execution.recompute == Recompute::attention) {
        std::erase_if(buffers, [](const Buffer& buffer) { return is_attention_core(buffer.id); });
    }
    return buffers;
}

std::vector<Buffer> working_activations(const ModelConfig& config, const Execution& execution,
                                        const LayerKind& kind) {
    std::vector<Buffer> buffers = block_activations(config, execution, kind);
    const std::vector<Buffer> saved = layer_activations(config, execution, kind);
    std::erase_if(buffers, [&](const Buffer& buffer) {
        return std::any_of(saved.begin(), saved.end(),
                           [&](const Buffer& kept) { return kept.id == buffer.id; });
    });
    for (Buffer& buffer : buffers) buffer.lifetime = Lifetime::working;
    return buffers;
}

std::vector<Buffer> block_scratch(const ModelConfig& config, const Execution& execution,
                                  const LayerKind& kind) {
    ActivationList list(execution);
    const std::int64_t H = config.hidden_size;
    list.set(Lifetime::forward_block);
    list.per_token(BufferId::block_branch_output, H);

    list.set(Lifetime::backward_block);
    list.per_token(BufferId::grad_branch, H);
    // The FFN's part in the gradient of the block's input, while attention's is computed.
    if (config.parallel_residual) list.per_token(BufferId::grad_parallel, H);

    list.set(Lifetime::backward_ffn);
    if (kind.ffn == model::FfnKind::mixture) {
        const std::int64_t k = config.moe->num_experts_per_token;
        const std::int64_t matrices = config.is_gated() ? 3 : 2;
        list.per_token(BufferId::grad_experts_hidden, k * matrices * config.moe->intermediate_size);
        list.per_token(BufferId::grad_experts_rows, 2 * k * H);
    } else if (kind.ffn == model::FfnKind::dense) {
        list.per_token(BufferId::grad_ffn_activated, config.intermediate_size);
        // A plain activation turns the gradient of its output into that of its input in place.
        if (config.is_gated())
            list.per_token(BufferId::grad_ffn_gate_up, 2 * config.intermediate_size);
    }

    list.set(Lifetime::backward_attention);
    if (kind.attention) {
        list.per_token(BufferId::grad_attention_output, config.attention_output_width());
        const std::int64_t key_value = config.mla
                                           ? config.query_width() + config.attention_output_width()
                                           : 2 * config.key_value_width();
        list.per_token(BufferId::grad_attention_qkv, config.query_width() + key_value);
        list.add(core_buffers(config, execution));
    }
    if (kind.recurrence) {
        const model::Recurrence& mixer = *config.recurrence;
        list.per_token(BufferId::grad_recurrence_output, mixer.inner_width());
        list.per_token(BufferId::grad_recurrence_inputs,
                       3 * mixer.inner_width() + 2 * mixer.key_width());
        if (mixer.state_size > 0) {
            list.per_chunk(BufferId::grad_recurrence_states, mixer.inner_width() * mixer.state_size,
                           kRecurrenceChunkTokens);
        }
    }
    return list.take();
}

}  // namespace isoflop::cost
