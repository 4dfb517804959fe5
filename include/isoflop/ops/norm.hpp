// RMSNorm (Zhang & Sennrich 2019) and LayerNorm (Ba 2016) over the last dimension, fused with the
// residual addition.
//   rms_norm:   y = x / sqrt(mean(x^2) + eps) * weight
//   layer_norm: y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias     (bias optional)
#pragma once

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

struct NormParameters {
    model::Normalization kind = model::Normalization::rmsnorm;
    TensorView weight;  ///< [H]
    TensorView bias;    ///< [H] or empty
    double eps = 1e-5;
    bool adds_one = false;  ///< scales by 1 + weight (Gemma, Nemotron)
};

/// x, out [T, H]; statistics [T] for rmsnorm (1/rms) or [2, T] for layer norms (mean, 1/std), in
/// the element type of the run (fp32; double in the double build). `out` may alias `x` only if x is
/// not needed later.
void norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                  const TensorView& out, const TensorView& statistics);

/// sum = x + branch; then as norm_forward on sum. `sum` may alias `x`.
void add_norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                      const TensorView& branch, const TensorView& sum, const TensorView& out,
                      const TensorView& statistics);

/// Given d_out [T, H] and the normalised op's input x and statistics:
///   d_x  = gradient of the input (+ d_x if `accumulate`)
///   d_weight, d_bias += their gradients, partial sums combined in row-chunk order.
/// d_x may alias d_out when `accumulate` is false.
void norm_backward(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, bool accumulate,
                   const TensorView& d_x, const TensorView& d_weight, const TensorView& d_bias);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::add_norm_forward) add_norm_forward;
decltype(ops::norm_backward) norm_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::add_norm_forward) add_norm_forward;
decltype(ops::norm_backward) norm_backward;
}  // namespace cuda

}  // namespace isoflop::ops
