// Attention as graphs of cuDNN operations, in the patterns that its fused engines recognise:
//   forward   S = scale Q K^T, masked; m = rowmax(S), l = rowsum(exp(S - m)), lse = m + log(l),
//             O = (exp(S - m) / l) V
//   backward  D = rowsum(dO O), P = exp(S - lse), dV = P^T dO, dS = scale P (dO V^T - D),
//             dK = dS^T Q, dQ = dS K; dK and dV summed over the heads of a group
// Where causal, row indices are compared with column indices.
#pragma once

#include "attention/cudnn/graph.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention::cudnn {

/// Tensors that have memory, and numbers.
enum Uid : std::int64_t {
    kQ = 1,
    kK,
    kV,
    kO,
    kLse,
    kScale,
    kMinusInfinity,
    kOne,
    kDO,
    kDQ,
    kDK,
    kDV,
    kRowSums,
    kDQSums,  ///< fp32, [batch, heads, query_length, head_dim]
};

/// The strides of a tensor's memory.
struct Layout {
    std::int64_t batch_stride = 0;
    std::int64_t token_stride = 0;
    std::int64_t head_stride = 0;
    // clang-tidy 14 takes the implied comparison with 0 for a null pointer.
    auto operator<=>(const Layout&) const = default;  // NOLINT(modernize-use-nullptr)
};
[[nodiscard]] Layout layout_of(const Heads& heads);

struct ForwardLayouts {
    Layout q, k, v, o;
    // clang-tidy 14 takes the implied comparison with 0 for a null pointer.
    auto operator<=>(const ForwardLayouts&) const = default;  // NOLINT(modernize-use-nullptr)
};
struct BackwardLayouts {
    Layout q, k, v, o, d_o, d_q, d_k, d_v;
    // clang-tidy 14 takes the implied comparison with 0 for a null pointer.
    auto operator<=>(const BackwardLayouts&) const = default;  // NOLINT(modernize-use-nullptr)
};

void build_forward(Graph& graph, const Shape& shape, DataType type, const ForwardLayouts& layouts);

/// Deterministic: dQ comes from the product at once, for which cuDNN keeps all of dS in its
/// workspace; else it is added up in kDQSums by atomics.
void build_backward(Graph& graph, const Shape& shape, DataType type, const BackwardLayouts& layouts,
                    bool deterministic);

}  // namespace isoflop::attention::cudnn
