// Causal or full, grouped-query attention: o = softmax(scale q k^T + mask) v, forward and backward,
// by three backends with one interface:
//   flash_attn_2  query tiles outside, key tiles inside, online softmax; lse is saved, scores are
//                 recomputed in backward; parallel over heads and query tiles
//                 (Dao 2023, arXiv 2307.08691)
//   sdpa          key tiles outside, query tiles inside; a running maximum and sum per row are kept
//                 (Dao 2022, arXiv 2205.14135)
//   manual        the whole matrix of probabilities is stored: two products and a softmax between
//                 them
// lse_i = log sum_j exp(s_ij), natural logarithm, over the keys that query i sees, of the scores
// s_ij = scale q_i k_j, or with a soft cap soft_cap tanh(scale q_i k_j / soft_cap). Rows that may
// see no key: o = 0, lse = +inf. Query head h reads key/value head h / (heads / kv_heads).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/cost/attention_pairs.hpp"
#include "isoflop/cost/attention_support.hpp"
#include "isoflop/cost/attention_workspace.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::attention {

using device::Context;
using device::TensorView;

struct Shape {
    std::int64_t batch = 1;
    std::int64_t query_length = 0;
    std::int64_t key_length = 0;
    std::int64_t heads = 1;
    std::int64_t kv_heads = 1;
    std::int64_t head_dim = 0;
    bool causal = true;  ///< query i sees keys j <= i + key_length - query_length
    double scale = 1;
    /// Of causal attention, the keys that a query sees at most, its own and those before: of equal
    /// lengths query i sees keys i - window < j <= i. 0: all before.
    std::int64_t window = 0;
    double soft_cap = 0;  ///< scores s become soft_cap tanh(s / soft_cap); 0: they stay

    [[nodiscard]] cost::AttentionSize size() const {
        return {.batch = batch,
                .heads = heads,
                .kv_heads = kv_heads,
                .query_length = query_length,
                .key_length = key_length,
                .head_dim = head_dim,
                .window = window,
                .soft_cap = soft_cap};
    }
};

/// Of `length` tokens among themselves, with the usual scale 1/sqrt(head_dim).
[[nodiscard]] Shape self_attention(std::int64_t batch, std::int64_t length, std::int64_t heads,
                                   std::int64_t kv_heads, std::int64_t head_dim,
                                   bool causal = true);
/// The attention of a model: of `query_length` tokens to themselves and those before, `key_length`
/// in all.
[[nodiscard]] Shape shape_of(const model::ModelConfig& model, std::int64_t batch,
                             std::int64_t query_length, std::int64_t key_length);

/// Element (b, s, h, i) at data + b*batch_stride + s*token_stride + h*head_stride + i; strides in
/// elements, so that packed qkv rows need no copy.
struct Heads {
    void* data = nullptr;
    DType dtype = DType::float32;
    std::int64_t batch_stride = 0;
    std::int64_t token_stride = 0;
    std::int64_t head_stride = 0;
};

struct ForwardArguments {
    Heads q, k, v;
    Heads o;  ///< written
    TensorView
        lse;  ///< [batch, heads, query_length], written by all backends; may be empty for manual
    TensorView probabilities;  ///< [batch, heads, query_length, key_length], manual only, written
    cost::Pass pass = cost::Pass::forward;  ///< recompute when run again in backward
};

struct BackwardArguments {
    Heads q, k, v, o, d_o;
    TensorView lse;            ///< fused backends
    TensorView probabilities;  ///< manual
    Heads d_q, d_k, d_v;       ///< overwritten
    TensorView row_sums;       ///< scratch [batch, heads, query_length], fused: rowsum(d_o * o)
    /// Scratch, fp32 [batch, heads, query_length, head_dim], or empty: flash_attn_2 on a GPU may
    /// add parts of d_q there in the order in which they come, which is faster.
    TensorView d_q_sums = {};
    TensorView d_scores;  ///< scratch [batch, heads, query_length, key_length], manual
    /// Scratch, or empty: for the library behind sdpa on a GPU, cost::cudnn_workspace_bytes.
    std::span<std::byte> workspace = {};
};

class Backend {
public:
    virtual ~Backend() = default;
    [[nodiscard]] virtual cost::AttentionBackend kind() const = 0;
    virtual void forward(Context& context, const Shape& shape,
                         const ForwardArguments& arguments) const = 0;
    virtual void backward(Context& context, const Shape& shape,
                          const BackwardArguments& arguments) const = 0;
    /// Prepares the resources that calls with these arguments need, such as plans of a library, so
    /// that the first step takes as long as later steps. Reads and writes no tensor.
    virtual void prepare(Context& /*context*/, const Shape& /*shape*/,
                         const ForwardArguments& /*forward*/,
                         const BackwardArguments& /*backward*/) const {}
    /// The implementation that runs calls like the last ones, if the backend has several; otherwise
    /// empty.
    [[nodiscard]] virtual std::string description() const { return {}; }
};

/// As backend.backward, for `chunk_heads` query heads of one sequence at a time, a multiple of
/// heads / kv_heads: manual attention then needs d_scores [1, chunk_heads, query_length,
/// key_length] only. The results have the same bits.
void backward_in_head_chunks(const Backend& backend, Context& context, const Shape& shape,
                             const BackwardArguments& arguments, std::int64_t chunk_heads);

/// Whether a backend can run a shape, and the reason if not.
using Support = cost::BackendSupport;
[[nodiscard]] Support supports(cost::AttentionBackend backend, cost::DeviceKind device,
                               const Shape& shape, DType dtype);

using Resolution = cost::BackendResolution;
/// Fallback flash_attn_2 -> sdpa -> manual. `disabled` (for tests and operators) lists backends to
/// treat as unsupported, comma-separated. Throws ConfigError when no backend is left.
[[nodiscard]] Resolution resolve(cost::AttentionBackend requested, cost::DeviceKind device,
                                 const Shape& shape, DType dtype, std::string_view disabled = {});

/// The implementation for the device. Throws ConfigError where there is none.
[[nodiscard]] std::unique_ptr<Backend> make_backend(cost::AttentionBackend backend,
                                                    const device::Device& device);

}  // namespace isoflop::attention
