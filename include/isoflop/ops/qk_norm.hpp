// RMSNorm of every query and key head before rope (Qwen3): one weight of head_dim for queries, one
// for keys.
#pragma once

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

struct QkNormShape {
    std::int64_t query_heads = 0;
    std::int64_t key_heads = 0;
    std::int64_t head_dim = 0;
    double eps = 1e-6;
    bool adds_one = false;  ///< scales by 1 + weight (Gemma-3)
};

/// packed [T, row_width] starts with the query heads, then the key heads. Their values are copied
/// to `before` [T, (query_heads + key_heads) * head_dim] and then normalised in place; statistics
/// [T, query_heads + key_heads] get 1/rms. query_weight, key_weight [head_dim].
void qk_norm_forward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                     const TensorView& key_weight, const TensorView& packed,
                     const TensorView& before, const TensorView& statistics);
/// d_packed in place: gradient of the normalised heads becomes that of the raw ones; weights'
/// gradients accumulate.
void qk_norm_backward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                      const TensorView& key_weight, const TensorView& before,
                      const TensorView& statistics, const TensorView& d_packed,
                      const TensorView& d_query_weight, const TensorView& d_key_weight);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::qk_norm_forward) qk_norm_forward;
decltype(ops::qk_norm_backward) qk_norm_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::qk_norm_forward) qk_norm_forward;
decltype(ops::qk_norm_backward) qk_norm_backward;
}  // namespace cuda

}  // namespace isoflop::ops
