// Every matrix product of a forward and backward pass. The planner sums this list; the trainer
// counts the products that it issues; the two are equal to the last FLOP.
//
// One product of an (m x k) by a (k x n) matrix costs 2 m n k FLOPs. Backward computes two products
// of the same size for each forward product (gradient of the input, gradient of the weight; of both
// operands in attention). Elementwise work (norms, softmax, rope, activations) is part of no
// published MFU and is reported separately.
//
// A state that a layer carries along the sequence (linear attention, state spaces) counts as the
// products of its recurrent form: the update with one token, and what the token reads. The chunked
// forms that kernels use issue more.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "isoflop/cost/execution.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

enum class Pass { forward, backward, recompute };

enum class FlopGroup {
    attention_projections,  ///< q, k, v, o and the latent down- and up-projections
    attention_core,         ///< scores Q K^T and values P V
    recurrence,             ///< projections, convolution and state of linear attention and SSMs
    ffn,
    router,
    experts,  ///< routed and shared
    lm_head,
};
inline constexpr std::size_t kFlopGroupCount = 7;

/// `count` products of one shape.
struct MatrixProduct {
    std::string_view name;  ///< "attention.q_proj", "attention.scores", "ffn.down_proj", ...
    FlopGroup group = FlopGroup::ffn;
    Pass pass = Pass::forward;
    std::int64_t m = 0;
    std::int64_t n = 0;
    std::int64_t k = 0;
    std::int64_t count = 0;
    /// Multiply-adds of one product: m * n * k, less what a mask skips (causal attention visits S
    /// (S+1) / 2 of the S x S pairs).
    std::uint64_t multiply_adds = 0;
    std::int64_t window = 0;  ///< of an attention core: keys that a query sees at most; 0: all

    [[nodiscard]] std::uint64_t flops() const {
        return 2 * multiply_adds * static_cast<std::uint64_t>(count);
    }
};

enum class AttentionMask {
    full,    ///< all S x S pairs (or the window) are counted, as PaLM and most MFU figures do
    causal,  ///< only pairs with key <= query
};

/// Products of one micro-batch forward: batch * sequence_length tokens through all layers and the
/// LM head.
[[nodiscard]] std::vector<MatrixProduct> forward_products(const model::ModelConfig& config,
                                                          std::int64_t batch,
                                                          std::int64_t sequence_length,
                                                          AttentionMask mask);

/// Products of one micro-batch forward and backward as the trainer issues them: causal skipping
/// where the attention backend skips, the backward recomputation inside fused attention, and
/// activation recomputation.
[[nodiscard]] std::vector<MatrixProduct> executed_products(const model::ModelConfig& config,
                                                           const Execution& execution);

[[nodiscard]] std::uint64_t total_flops(const std::vector<MatrixProduct>& products);
[[nodiscard]] std::array<std::uint64_t, kFlopGroupCount> flops_by_group(
    const std::vector<MatrixProduct>& products);

/// How published figures count training FLOPs per token. N_act are the parameters one token uses.
enum class Convention {
    /// 3 x forward products, full attention: 6 x matmul parameters + 12 L a d S; the default for
    /// MFU
    exact,
    palm,      ///< 6 N_act + 12 L a d S, all parameters (Chowdhery 2022, appendix B)
    megatron,  ///< matrix products with the causal half of attention, no router (Megatron-LM)
    titan,     ///< 6 (N_act - input embedding unless tied) + 12 L a d S (torchtitan)
    kaplan,    ///< 6 N_non_embedding + 6 L a d S (Kaplan 2020, table 1)
    six_nd,    ///< 6 N_act
    /// products that the trainer issues: causal skipping and recomputation counted; for HFU
    executed,
};
inline constexpr std::size_t kConventionCount = 7;

/// Training FLOPs (forward and backward) per token under a convention. Only `executed` uses
/// `execution`, besides its sequence_length.
[[nodiscard]] double training_flops_per_token(const model::ModelConfig& config,
                                              const model::ParameterTotals& parameters,
                                              const Execution& execution, Convention convention);

/// Formula of a convention in words, for reports.
[[nodiscard]] std::string_view formula(Convention convention);

/// Elementwise work per token, forward, in operations: add, multiply, compare, exp, divide and sqrt
/// count 1 each.
struct ElementwiseWork {
    double norms = 0;
    double rope = 0;
    double softmax = 0;
    double activation = 0;
    double residual = 0;
    double cross_entropy = 0;
    [[nodiscard]] double total() const {
        return norms + rope + softmax + activation + residual + cross_entropy;
    }
};
[[nodiscard]] ElementwiseWork elementwise_work_per_token(const model::ModelConfig& config,
                                                         std::int64_t sequence_length);

/// True when every count of this module fits in 63 bits for one micro-batch; the planner refuses
/// larger models.
[[nodiscard]] bool flops_are_countable(const model::ModelConfig& config, std::int64_t batch,
                                       std::int64_t sequence_length);

}  // namespace isoflop::cost

namespace isoflop {
template <>
inline constexpr auto enum_names<cost::FlopGroup> = std::to_array<EnumName<cost::FlopGroup>>(
    {{cost::FlopGroup::attention_projections, "attention_projections"},
     {cost::FlopGroup::attention_core, "attention_core"},
     {cost::FlopGroup::recurrence, "recurrence"},
     {cost::FlopGroup::ffn, "ffn"},
     {cost::FlopGroup::router, "router"},
     {cost::FlopGroup::experts, "experts"},
     {cost::FlopGroup::lm_head, "lm_head"}});
template <>
inline constexpr auto enum_names<cost::Convention> =
    std::to_array<EnumName<cost::Convention>>({{cost::Convention::exact, "exact"},
                                               {cost::Convention::palm, "palm"},
                                               {cost::Convention::megatron, "megatron"},
                                               {cost::Convention::titan, "titan"},
                                               {cost::Convention::kaplan, "kaplan"},
                                               {cost::Convention::six_nd, "6nd"},
                                               {cost::Convention::executed, "executed"}});
}  // namespace isoflop
