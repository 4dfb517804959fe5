// The list of matrix products, built from the architecture, and the sums that reports and laws
// need.
#include "isoflop/cost/flop_count.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "isoflop/cost/attention_pairs.hpp"

namespace isoflop::cost {
namespace {

using model::ModelConfig;

std::uint64_t unsigned_product(std::int64_t a, std::int64_t b, std::int64_t c = 1) {
    return static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b) *
           static_cast<std::uint64_t>(c);
}

/// A weight product: every output element is computed.
MatrixProduct dense(std::string_view name, FlopGroup group, std::int64_t m, std::int64_t n,
                    std::int64_t k, std::int64_t count) {
    return {.name = name,
            .group = group,
            .pass = Pass::forward,
            .m = m,
            .n = n,
            .k = k,
            .count = count,
            .multiply_adds = unsigned_product(m, n, k)};
}

/// Query-key pairs that are computed for one head and sequence. `window` limits each query to that
/// many keys.
std::uint64_t attention_pairs(std::int64_t sequence_length, std::int64_t window,
                              AttentionMask mask) {
    const std::int64_t width = std::min(window, sequence_length);
    if (mask == AttentionMask::full) return unsigned_product(sequence_length, width);
    return unsigned_product(width, width + 1) / 2 +
           unsigned_product(sequence_length - width, width);
}

/// Widths of one head in the two core products.
struct HeadWidths {
    std::int64_t query_key = 0;
    std::int64_t value = 0;
};

HeadWidths head_widths(const ModelConfig& config) {
    if (config.mla) {
        return {config.mla->qk_nope_head_dim + config.mla->qk_rope_head_dim,
                config.mla->v_head_dim};
    }
    return {config.head_dim, config.head_dim};
}

/// The same where each query sees the aligned chunk it is in.
std::uint64_t chunked_pairs(std::int64_t sequence_length, std::int64_t chunk, AttentionMask mask) {
    const std::int64_t width = std::min(chunk, sequence_length);
    const auto chunks = static_cast<std::uint64_t>(sequence_length / width);
    const std::int64_t rest = sequence_length % width;
    return chunks * attention_pairs(width, width, mask) + attention_pairs(rest, rest, mask);
}

struct CoreShape {
    std::int64_t batch = 0;
    std::int64_t sequence_length = 0;
    std::int64_t layers = 0;
    std::uint64_t pairs = 0;
    std::int64_t window = 0;  ///< 0: none
};

void add_core(std::vector<MatrixProduct>& products, const ModelConfig& config,
              const CoreShape& shape) {
    if (shape.layers == 0) return;
    const HeadWidths widths = head_widths(config);
    const std::int64_t S = shape.sequence_length;
    const std::int64_t count = shape.layers * shape.batch * config.num_attention_heads;
    products.push_back({.name = "attention.scores",
                        .group = FlopGroup::attention_core,
                        .pass = Pass::forward,
                        .m = S,
                        .n = S,
                        .k = widths.query_key,
                        .count = count,
                        .multiply_adds = shape.pairs * static_cast<std::uint64_t>(widths.query_key),
                        .window = shape.window});
    products.push_back({.name = "attention.values",
                        .group = FlopGroup::attention_core,
                        .pass = Pass::forward,
                        .m = S,
                        .n = widths.value,
                        .k = S,
                        .count = count,
                        .multiply_adds = shape.pairs * static_cast<std::uint64_t>(widths.value),
                        .window = shape.window});
}

/// The indexer of DeepSeek-V3.2 scores every key before attention reads the best ones.
void add_indexer(std::vector<MatrixProduct>& products, const ModelConfig& config,
                 std::int64_t batch, std::int64_t sequence_length, AttentionMask mask) {
    constexpr auto projections = FlopGroup::attention_projections;
    const std::int64_t tokens = batch * sequence_length;
    const std::int64_t layers = config.num_attention_layers();
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t width = config.index_head_dim;
    const std::int64_t rank = config.mla->q_lora_rank.value_or(hidden);
    products.push_back(dense("attention.index_q_proj", projections, tokens,
                             config.index_heads * width, rank, layers));
    products.push_back(dense("attention.index_k_proj", projections, tokens, width, hidden, layers));
    products.push_back(
        dense("attention.index_weights", projections, tokens, config.index_heads, hidden, layers));
    const std::uint64_t pairs = attention_pairs(sequence_length, sequence_length, mask);
    // And the sum of the heads by their weights.
    products.push_back({.name = "attention.index_scores",
                        .group = FlopGroup::attention_core,
                        .pass = Pass::forward,
                        .m = sequence_length,
                        .n = sequence_length,
                        .k = width,
                        .count = layers * batch * config.index_heads,
                        .multiply_adds = pairs * static_cast<std::uint64_t>(width + 1)});
}

void add_attention(std::vector<MatrixProduct>& products, const ModelConfig& config,
                   std::int64_t batch, std::int64_t sequence_length, AttentionMask mask) {
    constexpr auto projections = FlopGroup::attention_projections;
    const std::int64_t T = batch * sequence_length;
    const std::int64_t L = config.num_attention_layers();
    const std::int64_t H = config.hidden_size;
    if (L == 0) return;
    if (config.mla) {
        const model::LatentAttention& mla = *config.mla;
        const std::int64_t heads = config.num_attention_heads;
        const std::int64_t key_value_up = heads * (mla.qk_nope_head_dim + mla.v_head_dim);
        if (mla.q_lora_rank) {
            products.push_back(dense("attention.q_a_proj", projections, T, *mla.q_lora_rank, H, L));
            products.push_back(dense("attention.q_b_proj", projections, T, config.query_width(),
                                     *mla.q_lora_rank, L));
        } else {
            products.push_back(
                dense("attention.q_proj", projections, T, config.query_width(), H, L));
        }
        products.push_back(dense("attention.kv_a_proj", projections, T,
                                 mla.kv_lora_rank + mla.qk_rope_head_dim, H, L));
        products.push_back(
            dense("attention.kv_b_proj", projections, T, key_value_up, mla.kv_lora_rank, L));
    } else {
        const std::int64_t queries = (config.attention_gate ? 2 : 1) * config.query_width();
        const std::int64_t width = queries + 2 * config.key_value_width();
        const std::int64_t reusing = std::count_if(
            config.layers.begin(), config.layers.end(),
            [](const model::LayerKind& kind) { return kind.attention && kind.reuses_keys; });
        products.push_back(dense("attention.qkv_proj", projections, T, width, H, L - reusing));
        if (reusing > 0)
            products.push_back(dense("attention.q_proj", projections, T, queries, H, reusing));
    }
    const std::int64_t window_layers = config.num_window_layers();
    const std::int64_t keys = config.index_heads > 0 ? config.index_top_k : sequence_length;
    add_core(
        products, config,
        {batch, sequence_length, L - window_layers, attention_pairs(sequence_length, keys, mask)});
    if (window_layers > 0) {
        const std::int64_t window = *config.sliding_window;
        add_core(products, config,
                 {batch, sequence_length, window_layers,
                  config.chunked_windows ? chunked_pairs(sequence_length, window, mask)
                                         : attention_pairs(sequence_length, window, mask),
                  config.chunked_windows ? 0 : window});
    }
    if (config.index_heads > 0) add_indexer(products, config, batch, sequence_length, mask);
    products.push_back(
        dense("attention.o_proj", projections, T, H, config.attention_output_width(), L));
}

/// Projections as the layout has them, the convolution and the state.
void add_recurrence(std::vector<MatrixProduct>& products, const ModelConfig& config,
                    std::int64_t tokens) {
    if (!config.recurrence) return;
    const model::Recurrence& mixer = *config.recurrence;
    std::int64_t layers = 0;
    for (const model::LayerGroup& group : config.layer_groups()) {
        if (group.kind.recurrence) layers += group.count();
    }
    if (layers == 0) return;
    constexpr auto group = FlopGroup::recurrence;
    const std::int64_t inner = mixer.inner_width();
    const std::int64_t H = config.hidden_size;
    products.push_back(dense("recurrence.in_proj", group, tokens, mixer.input_width(), H, layers));
    if (mixer.kind == model::RecurrenceKind::mamba) {
        products.push_back(dense("recurrence.x_proj", group, tokens,
                                 mixer.time_step_rank + 2 * mixer.state_size, inner, layers));
        products.push_back(
            dense("recurrence.dt_proj", group, tokens, inner, mixer.time_step_rank, layers));
    }
    if (mixer.conv_channels() > 0 && mixer.conv_kernel > 0) {
        products.push_back(dense("recurrence.convolution", group, tokens, mixer.conv_channels(),
                                 mixer.conv_kernel, layers));
    }
    if (mixer.state_multiply_adds() > 0) {
        products.push_back(
            {.name = "recurrence.state",
             .group = group,
             .pass = Pass::forward,
             .m = tokens,
             .n = inner,
             .k = mixer.state_size,
             .count = layers,
             .multiply_adds = unsigned_product(tokens, mixer.state_multiply_adds())});
    }
    products.push_back(dense("recurrence.out_proj", group, tokens, H, inner, layers));
}

/// Gemma-3n: predictions and corrections of the streams, the low-rank residual, and the embedding
/// of each layer. The router of the streams runs before and after the layer.
void add_alternating_updates(std::vector<MatrixProduct>& products, const ModelConfig& config,
                             std::int64_t tokens) {
    if (!config.alternating_updates) return;
    const model::AlternatingUpdates& updates = *config.alternating_updates;
    constexpr auto group = FlopGroup::ffn;
    const std::int64_t H = config.hidden_size;
    const std::int64_t L = config.num_hidden_layers;
    const std::int64_t streams = updates.num_streams;
    const std::int64_t width = updates.hidden_size_per_layer;
    const auto add = [&](std::string_view name, std::int64_t n, std::int64_t k,
                         std::int64_t count) {
        products.push_back(dense(name, group, tokens, n, k, count));
    };
    add("streams.router", streams, H, 2 * L);
    add("streams.prediction", streams * streams, streams, L);
    add("streams.correction", streams, streams, L);
    add("laurel.down_proj", updates.laurel_rank, H, L);
    add("laurel.up_proj", H, updates.laurel_rank, L);
    add("layer_embedding.gate", width, H, L);
    add("layer_embedding.proj", H, width, L);
    add("layer_embedding.model_proj", L * width, H, 1);
    if (streams > 1) add("streams.projection", H, H, 2 * (streams - 1));
}

/// Dense networks, by their widths.
void add_dense_ffn(std::vector<MatrixProduct>& products, const ModelConfig& config,
                   std::int64_t tokens) {
    const std::int64_t H = config.hidden_size;
    const std::int64_t inputs = config.is_gated() ? 2 : 1;  // gate and up, or up alone
    const std::string_view up = config.is_gated() ? "ffn.gate_up_proj" : "ffn.up_proj";
    std::map<std::int64_t, std::int64_t> layers_of_width;
    for (const model::LayerKind& kind : config.layers) {
        if (kind.ffn == model::FfnKind::dense && kind.ffn_width > 0)
            ++layers_of_width[kind.ffn_width];
    }
    std::int64_t others = config.num_dense_layers();
    for (const auto& [width, layers] : layers_of_width) others -= layers;
    layers_of_width[config.intermediate_size] += others;
    for (const auto& [width, layers] : layers_of_width) {
        if (layers == 0) continue;
        products.push_back(dense(up, FlopGroup::ffn, tokens, inputs * width, H, layers));
        products.push_back(dense("ffn.down_proj", FlopGroup::ffn, tokens, H, width, layers));
    }
}

void add_ffn(std::vector<MatrixProduct>& products, const ModelConfig& config, std::int64_t tokens) {
    const std::int64_t H = config.hidden_size;
    const std::int64_t inputs = config.is_gated() ? 2 : 1;  // gate and up, or up alone
    const std::int64_t moe_layers = config.num_moe_layers();
    add_dense_ffn(products, config, tokens);
    if (moe_layers == 0) return;
    const model::MixtureOfExperts& moe = *config.moe;
    const std::int64_t Fm = moe.intermediate_size;
    const std::int64_t routed = tokens * moe.num_experts_per_token;  // rows over all experts
    products.push_back(
        dense("router.gate", FlopGroup::router, tokens, moe.num_experts, H, moe_layers));
    const std::int64_t width = moe.latent_size > 0 ? moe.latent_size : H;
    if (moe.latent_size > 0) {
        products.push_back(
            dense("experts.latent_proj", FlopGroup::experts, tokens, width, H, 2 * moe_layers));
    }
    products.push_back(
        dense("experts.gate_up_proj", FlopGroup::experts, routed, inputs * Fm, width, moe_layers));
    products.push_back(
        dense("experts.down_proj", FlopGroup::experts, routed, width, Fm, moe_layers));
    if (moe.shared_width() > 0) {
        const std::int64_t Fs = moe.shared_width();
        products.push_back(dense("shared_experts.gate_up_proj", FlopGroup::experts, tokens,
                                 inputs * Fs, H, moe_layers));
        products.push_back(
            dense("shared_experts.down_proj", FlopGroup::experts, tokens, H, Fs, moe_layers));
        if (moe.shared_expert_gate) {
            products.push_back(
                dense("shared_experts.gate", FlopGroup::experts, tokens, 1, H, moe_layers));
        }
    }
}

/// Whether recomputing a block has to run this product again: the block's last product is not
/// needed by its own backward (its output is the next block's saved input), unless a norm or expert
/// weighting reads it. Where attention and FFN read the same input, that holds for both.
bool recomputed_with_block(const MatrixProduct& product, const ModelConfig& config) {
    if (product.group == FlopGroup::lm_head) return false;
    const bool output_unused = config.norm_position == model::NormPosition::pre;
    const bool is_last = product.name == "ffn.down_proj" ||
                         (config.parallel_residual && product.name == "attention.o_proj");
    return !(is_last && output_unused);
}

/// The core product as it is executed: forward with the pairs that the tiles of the backend visit
/// instead of the ideal causal count, and backward, where fused backends recompute the scores.
struct ExecutedCore {
    MatrixProduct forward, backward;
};

ExecutedCore executed_core(const MatrixProduct& ideal, const ModelConfig& config,
                           const Execution& execution) {
    const bool scores = ideal.name == "attention.scores";
    ExecutedCore core{ideal, ideal};
    core.backward.pass = Pass::backward;
    // Planned, not executed: the ideal count is used.
    if (config.index_heads > 0 || config.chunked_windows) {
        const bool fused = execution.attention_backend != AttentionBackend::manual;
        core.backward.multiply_adds *= scores && fused ? 3 : 2;
        return core;
    }
    const HeadWidths widths = head_widths(config);
    const auto width = static_cast<std::uint64_t>(scores ? widths.query_key : widths.value);
    const std::int64_t S = execution.sequence_length;
    const std::int64_t kernel_width = widths.query_key == widths.value ? widths.value : 0;
    const std::int64_t window = ideal.window < S ? ideal.window : 0;
    const CorePairs pairs = core_pairs(execution, kernel_width, S, S, true, window);
    core.forward.multiply_adds = width * (scores ? pairs.forward_scores : pairs.forward_values);
    core.backward.multiply_adds = width * (scores ? pairs.backward_scores : pairs.backward_values);
    return core;
}

}  // namespace

std::vector<MatrixProduct> forward_products(const ModelConfig& config, std::int64_t batch,
                                            std::int64_t sequence_length, AttentionMask mask) {
    std::vector<MatrixProduct> products;
    products.reserve(16);
    const std::int64_t tokens = batch * sequence_length;
    add_attention(products, config, batch, sequence_length, mask);
    add_recurrence(products, config, tokens);
    add_ffn(products, config, tokens);
    add_alternating_updates(products, config, tokens);
    const std::int64_t width = config.vocabulary_width();
    if (width != config.hidden_size) {
        products.push_back(dense("embedding.project_in", FlopGroup::lm_head, tokens,
                                 config.hidden_size, width, 1));
        products.push_back(dense("embedding.project_out", FlopGroup::lm_head, tokens, width,
                                 config.hidden_size, 1));
    }
    products.push_back(dense("lm_head", FlopGroup::lm_head, tokens, config.vocab_size, width, 1));
    return products;
}

std::vector<MatrixProduct> executed_products(const ModelConfig& config,
                                             const Execution& execution) {
    const bool fused = execution.attention_backend != AttentionBackend::manual;
    const AttentionMask mask = fused ? AttentionMask::causal : AttentionMask::full;
    std::vector<MatrixProduct> forward =
        forward_products(config, execution.micro_batch_size, execution.sequence_length, mask);
    std::vector<MatrixProduct> of_backward;
    for (MatrixProduct& product : forward) {
        MatrixProduct backward = product;
        backward.pass = Pass::backward;
        backward.count *= 2;
        if (product.group == FlopGroup::attention_core) {
            const ExecutedCore core = executed_core(product, config, execution);
            product = core.forward;
            backward = core.backward;
        }
        of_backward.push_back(backward);
    }
    std::vector<MatrixProduct> products = forward;
    products.insert(products.end(), of_backward.begin(), of_backward.end());
    for (const MatrixProduct& product : forward) {
        const bool core = product.group == FlopGroup::attention_core;
        const bool again =
            (execution.recompute == Recompute::attention && core) ||
            (execution.recompute == Recompute::block && recomputed_with_block(product, config));
        if (again) {
            MatrixProduct recomputed = product;
            recomputed.pass = Pass::recompute;
            products.push_back(recomputed);
        }
    }
    return products;
}

std::uint64_t total_flops(const std::vector<MatrixProduct>& products) {
    std::uint64_t total = 0;
    for (const MatrixProduct& product : products) total += product.flops();
    return total;
}

std::array<std::uint64_t, kFlopGroupCount> flops_by_group(
    const std::vector<MatrixProduct>& products) {
    std::array<std::uint64_t, kFlopGroupCount> sums{};
    for (const MatrixProduct& product : products) {
        sums[static_cast<std::size_t>(product.group)] += product.flops();
    }
    return sums;
}

namespace {

/// Both attention products, forward and backward, per token when every query sees every key:
/// 2 * 3 * L * a * (d_qk + d_v) * S, which is 12 L a d S for equal widths.
double full_attention_per_token(const ModelConfig& config, std::int64_t sequence_length) {
    const HeadWidths widths = head_widths(config);
    return 6.0 * static_cast<double>(config.num_attention_layers()) *
           static_cast<double>(config.num_attention_heads) *
           static_cast<double>(widths.query_key + widths.value) *
           static_cast<double>(sequence_length);
}

double exact_per_token(const ModelConfig& config, std::int64_t sequence_length) {
    const auto products = forward_products(config, 1, sequence_length, AttentionMask::full);
    // Every product is a multiple of the sequence length, so the integer division is exact.
    const std::uint64_t forward =
        total_flops(products) / static_cast<std::uint64_t>(sequence_length);
    return 3.0 * static_cast<double>(forward);
}

double megatron_per_token(const ModelConfig& config, std::int64_t sequence_length) {
    double total = 0;
    for (const auto& product : forward_products(config, 1, sequence_length, AttentionMask::full)) {
        if (product.group == FlopGroup::router || product.group == FlopGroup::attention_core)
            continue;
        total += 3.0 * static_cast<double>(product.flops());
    }
    return total / static_cast<double>(sequence_length) +
           full_attention_per_token(config, sequence_length) / 2.0;
}

double titan_per_token(const ModelConfig& config, const model::ParameterTotals& parameters,
                       std::int64_t sequence_length) {
    using model::Component;
    const auto component = [&](Component which) {
        return parameters.by_component[static_cast<std::size_t>(which)];
    };
    std::int64_t counted = parameters.active - component(Component::position_embedding);
    if (!config.tie_word_embeddings) counted -= component(Component::token_embedding);
    return 6.0 * static_cast<double>(counted) + full_attention_per_token(config, sequence_length);
}

}  // namespace

double training_flops_per_token(const ModelConfig& config, const model::ParameterTotals& parameters,
                                const Execution& execution, Convention convention) {
    const std::int64_t S = execution.sequence_length;
    switch (convention) {
        case Convention::exact: return exact_per_token(config, S);
        case Convention::palm:
            return 6.0 * static_cast<double>(parameters.active) +
                   full_attention_per_token(config, S);
        case Convention::megatron: return megatron_per_token(config, S);
        case Convention::titan: return titan_per_token(config, parameters, S);
        case Convention::kaplan:
            return 6.0 * static_cast<double>(parameters.active_non_embedding) +
                   full_attention_per_token(config, S) / 2.0;
        case Convention::six_nd: return 6.0 * static_cast<double>(parameters.active);
        case Convention::executed:
            return static_cast<double>(total_flops(executed_products(config, execution))) /
                   static_cast<double>(execution.tokens());
    }
    return 0;
}

std::string_view formula(Convention convention) {
    switch (convention) {
        case Convention::exact:
            return "6 x matmul parameters + 12 L a d S (sum of all matrix products)";
        case Convention::palm: return "6 N + 12 L a d S, N = all active parameters";
        case Convention::megatron: return "matrix products with half of attention, no router";
        case Convention::titan: return "6 (N - input embedding unless tied) + 12 L a d S";
        case Convention::kaplan: return "6 N_non_embedding + 6 L a d S";
        case Convention::six_nd: return "6 N, N = all active parameters";
        case Convention::executed:
            return "products issued: causal skipping and recomputation counted";
    }
    return {};
}

ElementwiseWork elementwise_work_per_token(const ModelConfig& config,
                                           std::int64_t sequence_length) {
    // Operations per element: rms_norm squares, sums, scales by 1/rms and by the weight (4);
    // layer_norm also subtracts the mean, which it sums first, and adds a bias (7). Rope rotates a
    // pair with 6. Softmax subtracts the maximum it compared for, takes exp, sums, divides (5).
    // SiLU: negate, exp, add, divide (4), times up (1).
    const double norm = config.normalization == model::Normalization::rmsnorm ? 4.0 : 7.0;
    const double activation = config.is_gated() ? 5.0 : 8.0;  // GELU (tanh form): 8
    const auto L = static_cast<double>(config.num_hidden_layers);
    const auto H = static_cast<double>(config.hidden_size);
    const auto a = static_cast<double>(config.num_attention_heads);
    const double norms_per_block =
        config.norm_position == model::NormPosition::sandwich ? 4.0 : 2.0;
    const double rotated =
        config.mla ? static_cast<double>(config.mla->qk_rope_head_dim) * (a + 1)
                   : static_cast<double>(config.query_width() + config.key_value_width());
    double ffn_width = 0;
    ffn_width += static_cast<double>(config.num_dense_layers()) *
                 static_cast<double>(config.intermediate_size);
    if (config.moe) {
        ffn_width +=
            static_cast<double>(config.num_moe_layers()) *
            static_cast<double>(config.moe->intermediate_size * config.moe->num_experts_per_token +
                                config.moe->shared_width());
    }
    const auto attention_layers = static_cast<double>(config.num_attention_layers());
    ElementwiseWork work;
    work.norms = norm * H * (norms_per_block * L + 1);
    work.rope = config.position_encoding == model::PositionEncoding::rope
                    ? 3.0 * rotated * attention_layers
                    : 0.0;
    work.softmax = 5.0 * a * static_cast<double>(sequence_length) * attention_layers;
    work.activation = activation * ffn_width;
    work.residual = 2.0 * H * L;
    work.cross_entropy = 5.0 * static_cast<double>(config.vocab_size);
    return work;
}

bool flops_are_countable(const ModelConfig& config, std::int64_t batch,
                         std::int64_t sequence_length) {
    const auto B = static_cast<double>(batch);
    const auto S = static_cast<double>(sequence_length);
    double multiply_adds =
        B * S * static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
    const HeadWidths widths = head_widths(config);
    const auto L = static_cast<double>(config.num_hidden_layers);
    const auto H = static_cast<double>(config.hidden_size);
    const auto heads = static_cast<double>(config.num_attention_heads);
    multiply_adds += L * B * S * S * heads * static_cast<double>(widths.query_key + widths.value);
    multiply_adds +=
        L * B * S * H * heads * 4.0 * static_cast<double>(widths.query_key + widths.value);
    multiply_adds += L * B * S * H * 3.0 * static_cast<double>(config.intermediate_size);
    if (config.mla) {  // through the ranks
        const auto ranks =
            static_cast<double>(config.mla->q_lora_rank.value_or(0) + config.mla->kv_lora_rank);
        multiply_adds +=
            L * B * S * ranks * (H + heads * static_cast<double>(widths.query_key + widths.value));
    }
    if (config.moe) {
        const double routed = static_cast<double>(config.moe->num_experts) *
                              static_cast<double>(config.moe->intermediate_size);
        multiply_adds +=
            L * B * S * H * 3.0 * (routed + static_cast<double>(config.moe->shared_width()) + 1);
    }
    if (config.recurrence) {
        const model::Recurrence& mixer = *config.recurrence;
        multiply_adds +=
            L * B * S *
            (H * static_cast<double>(mixer.input_width() + mixer.inner_width()) +
             static_cast<double>(mixer.inner_width()) *
                 static_cast<double>(3 * mixer.state_size + 2 * mixer.time_step_rank + 2) +
             static_cast<double>(mixer.conv_channels()) * static_cast<double>(mixer.conv_kernel));
    }
    return 2.0 * 5.0 * multiply_adds <
           std::ldexp(1.0, 63);  // five passes at most: forward, backward, recompute
}

}  // namespace isoflop::cost
