// What forward saves for backward, layer by layer, and what a block needs while it runs. T tokens,
// H hidden, a query heads, g key/value heads, d head_dim, F intermediate size. For a LLaMA block in
// 16 bits with fused attention the saved tensors come to T * (8H + 2(a+2g)d + 2ad + 6F + 4a) bytes
// and the two norm statistics.
#include "cost/activations.hpp"

#include <algorithm>

#include "cost/unit_sizes.hpp"
#include "isoflop/cost/attention_workspace.hpp"

namespace isoflop::cost {
namespace {

using model::ModelConfig;

/// Collects buffers of one layer; sizes in elements of the storage type unless said otherwise.
class ActivationList {
public:
    explicit ActivationList(const Execution& execution)
        : tokens_(static_cast<std::uint64_t>(execution.tokens())),
          element_bytes_(size_in_bytes(execution.storage_dtype())),
          statistic_bytes_(size_in_bytes(execution.statistics_dtype())) {}

    /// Category and lifetime of the buffers that follow.
    void set(MemoryCategory category, Lifetime lifetime) {
        category_ = category;
        lifetime_ = lifetime;
    }

    /// One row of `width` elements per token.
    void per_token(std::string_view name, std::int64_t width) {
        bytes(name, tokens_ * static_cast<std::uint64_t>(width) * element_bytes_);
    }
    /// `width` statistics (fp32) per token.
    void per_token_statistics(std::string_view name, std::int64_t width) {
        bytes(name, tokens_ * static_cast<std::uint64_t>(width) * statistic_bytes_);
    }
    /// One element for every query, key pair of every head.
    void per_score(std::string_view name, const ModelConfig& config, const Execution& execution) {
        const auto S = static_cast<std::uint64_t>(execution.sequence_length);
        bytes(name, tokens_ * static_cast<std::uint64_t>(config.num_attention_heads) * S *
                        element_bytes_);
    }
    void elements(std::string_view name, std::int64_t count) {
        bytes(name, static_cast<std::uint64_t>(count) * element_bytes_);
    }
    void bytes(std::string_view name, std::uint64_t size) {
        buffers_.push_back({.name = name,
                            .category = category_,
                            .lifetime = lifetime_,
                            .bytes_each = round_up(size, kBufferAlignment)});
    }
    [[nodiscard]] std::vector<Buffer> take() { return std::move(buffers_); }

private:
    std::uint64_t tokens_;
    std::uint64_t element_bytes_;
    std::uint64_t statistic_bytes_;
    MemoryCategory category_ = MemoryCategory::activations;
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
            list.per_token("attention.q_latent", *mla.q_lora_rank);
            list.per_token("attention.q_latent_normed", *mla.q_lora_rank);
        }
        list.per_token("attention.kv_latent", mla.kv_lora_rank + mla.qk_rope_head_dim);
        list.per_token("attention.kv_latent_normed", mla.kv_lora_rank);
        list.per_token("attention.q", config.query_width());
        list.per_token("attention.k", config.query_width());
        list.per_token("attention.v", heads * mla.v_head_dim);
        return;
    }
    const std::int64_t query_key = config.query_width() + config.key_value_width();
    list.per_token("attention.qkv", query_key + config.key_value_width());
    if (config.qk_norm != model::QkNorm::none) {
        list.per_token("attention.qk_before_norm", query_key);
        const bool per_head = config.qk_norm == model::QkNorm::per_head;
        list.per_token_statistics("attention.qk_norm_statistics",
                                  per_head ? heads + config.num_key_value_heads : 2);
    }
}

/// Probabilities (manual) or log-sum-exp (fused), and the attention output.
void add_attention_core(ActivationList& list, const ModelConfig& config,
                        const Execution& execution) {
    list.per_token("attention.output", config.attention_output_width());
    if (execution.attention_backend == AttentionBackend::manual) {
        list.per_score("attention.probabilities", config, execution);
    } else {
        list.per_token_statistics("attention.lse", config.num_attention_heads);
    }
}

void add_dense_ffn(ActivationList& list, const ModelConfig& config) {
    list.per_token(config.is_gated() ? "ffn.gate_up" : "ffn.up",
                   (config.is_gated() ? 2 : 1) * config.intermediate_size);
    list.per_token("ffn.activated", config.intermediate_size);
}

/// Balanced routing, no dropped tokens: every token visits k experts.
void add_expert_ffn(ActivationList& list, const ModelConfig& config) {
    const model::MixtureOfExperts& moe = *config.moe;
    const std::int64_t k = moe.num_experts_per_token;
    const std::int64_t matrices = config.is_gated() ? 3 : 2;
    list.per_token_statistics("router.probabilities", moe.num_experts);
    list.per_token_statistics("router.choices", 2 * k);  // expert index and weight
    list.per_token("experts.input", k * config.hidden_size);
    list.per_token("experts.hidden", k * matrices * moe.intermediate_size);
    list.per_token("experts.output", k * config.hidden_size);
    if (moe.num_shared_experts > 0) {
        list.per_token("shared_experts.hidden",
                       matrices * moe.intermediate_size * moe.num_shared_experts);
    }
}

bool is_attention_core(std::string_view name) {
    return name == "attention.output" || name == "attention.probabilities" ||
           name == "attention.lse";
}

/// What cuDNN may ask for, whether or not it will be there.
std::uint64_t library_workspace_bytes(const ModelConfig& config, const Execution& execution) {
    if (execution.attention_backend != AttentionBackend::sdpa ||
        execution.device != DeviceKind::cuda || !execution.has_master_weights() || config.mla)
        return 0;
    return cudnn_workspace_bytes({.batch = execution.micro_batch_size,
                                  .heads = config.num_attention_heads,
                                  .kv_heads = config.num_key_value_heads,
                                  .query_length = execution.sequence_length,
                                  .key_length = execution.sequence_length,
                                  .head_dim = config.head_dim},
                                 execution.deterministic);
}

}  // namespace

std::vector<Buffer> block_activations(const ModelConfig& config, const Execution& execution,
                                      bool moe_layer) {
    ActivationList list(execution);
    const std::int64_t H = config.hidden_size;
    const bool sandwich = config.norm_position == model::NormPosition::sandwich;
    list.per_token("block.input", H);
    list.per_token_statistics("attention.norm_statistics", norm_statistics(config));
    list.per_token("attention.normed", H);
    add_queries_keys_values(list, config);
    add_attention_core(list, config, execution);
    if (sandwich) list.per_token("attention.branch", H);
    if (!config.parallel_residual) list.per_token("ffn.input", H);
    list.per_token_statistics("ffn.norm_statistics", norm_statistics(config));
    list.per_token("ffn.normed", H);
    if (moe_layer) {
        add_expert_ffn(list, config);
    } else {
        add_dense_ffn(list, config);
    }
    if (sandwich) list.per_token("ffn.branch", H);
    return list.take();
}

std::vector<Buffer> layer_activations(const ModelConfig& config, const Execution& execution,
                                      bool moe_layer) {
    std::vector<Buffer> buffers = block_activations(config, execution, moe_layer);
    if (execution.recompute == Recompute::block) {
        buffers.resize(1);  // block.input
    } else if (execution.recompute == Recompute::attention) {
        std::erase_if(buffers, [](const Buffer& buffer) { return is_attention_core(buffer.name); });
    }
    return buffers;
}

std::vector<Buffer> working_activations(const ModelConfig& config, const Execution& execution,
                                        bool moe_layer) {
    std::vector<Buffer> buffers = block_activations(config, execution, moe_layer);
    const std::vector<Buffer> saved = layer_activations(config, execution, moe_layer);
    std::erase_if(buffers, [&](const Buffer& buffer) {
        return std::any_of(saved.begin(), saved.end(),
                           [&](const Buffer& kept) { return kept.name == buffer.name; });
    });
    for (Buffer& buffer : buffers) buffer.lifetime = Lifetime::working;
    return buffers;
}

std::vector<Buffer> block_scratch(const ModelConfig& config, const Execution& execution,
                                  bool moe_layer) {
    ActivationList list(execution);
    const std::int64_t H = config.hidden_size;
    list.set(MemoryCategory::scratch, Lifetime::forward_block);
    list.per_token("block.branch_output", H);

    list.set(MemoryCategory::scratch, Lifetime::backward_block);
    list.per_token("grad.branch", H);

    list.set(MemoryCategory::scratch, Lifetime::backward_ffn);
    if (moe_layer) {
        const std::int64_t k = config.moe->num_experts_per_token;
        const std::int64_t matrices = config.is_gated() ? 3 : 2;
        list.per_token("grad.experts.hidden", k * matrices * config.moe->intermediate_size);
        list.per_token("grad.experts.rows", 2 * k * H);
    } else {
        list.per_token("grad.ffn.activated", config.intermediate_size);
        // A plain activation turns the gradient of its output into that of its input in place.
        if (config.is_gated()) list.per_token("grad.ffn.gate_up", 2 * config.intermediate_size);
    }

    list.set(MemoryCategory::scratch, Lifetime::backward_attention);
    list.per_token("grad.attention.output", config.attention_output_width());
    const std::int64_t key_value = config.mla
                                       ? config.query_width() + config.attention_output_width()
                                       : 2 * config.key_value_width();
    list.per_token("grad.attention.qkv", config.query_width() + key_value);
    if (execution.attention_backend == AttentionBackend::manual) {
        const std::int64_t S = execution.sequence_length;
        if (execution.manual_head_chunk > 0 && !config.mla) {
            list.elements(
                "grad.attention.scores",
                execution.chunk_heads(config.num_attention_heads, config.num_key_value_heads) * S *
                    S);
        } else {
            list.per_score("grad.attention.scores", config, execution);
        }
    } else {
        list.per_token_statistics("grad.attention.row_sums", config.num_attention_heads);
        // Parts of query gradients are added in fp32, in the order in which they come.
        if (execution.has_master_weights() && !execution.deterministic &&
            execution.device == DeviceKind::cuda) {
            list.per_token_statistics("grad.attention.q_accumulator", config.query_width());
        }
        const std::uint64_t workspace = library_workspace_bytes(config, execution);
        if (workspace > 0) list.bytes("grad.attention.workspace", workspace);
    }
    return list.take();
}

}  // namespace isoflop::cost
