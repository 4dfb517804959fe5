// Activations of the feed-forward layer, plain and gated.
//   silu x/(1+e^-x), gelu (erf), gelu_tanh, relu, leaky_relu (slope 0.01)
// and the soft cap of logits, cap * tanh(x / cap) (Gemma-2).
#pragma once

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// out[t, f] = act(x[t, f]); x, out [T, F].
void activation_forward(Context& context, model::Activation kind, const TensorView& x,
                        const TensorView& out);
/// d_x = d_out * act'(x). d_x may alias d_out.
void activation_backward(Context& context, model::Activation kind, const TensorView& x,
                         const TensorView& d_out, const TensorView& d_x);

/// SwiGLU and its relatives: gate_up [T, 2F] holds gate (first F) and up; out[t, f] = act(gate) *
/// up, out [T, F].
void gated_forward(Context& context, model::Activation kind, const TensorView& gate_up,
                   const TensorView& out);
/// d_gate_up [T, 2F] from d_out [T, F].
void gated_backward(Context& context, model::Activation kind, const TensorView& gate_up,
                    const TensorView& d_out, const TensorView& d_gate_up);

/// x = cap * tanh(x / cap), in place.
void soft_cap_forward(Context& context, double cap, const TensorView& x);
/// d *= the slope of the cap, in place; `capped` is what soft_cap_forward left.
void soft_cap_backward(Context& context, double cap, const TensorView& capped, const TensorView& d);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::activation_forward) activation_forward;
decltype(ops::activation_backward) activation_backward;
decltype(ops::gated_forward) gated_forward;
decltype(ops::gated_backward) gated_backward;
decltype(ops::soft_cap_forward) soft_cap_forward;
decltype(ops::soft_cap_backward) soft_cap_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::activation_forward) activation_forward;
decltype(ops::activation_backward) activation_backward;
decltype(ops::gated_forward) gated_forward;
decltype(ops::gated_backward) gated_backward;
decltype(ops::soft_cap_forward) soft_cap_forward;
decltype(ops::soft_cap_backward) soft_cap_backward;
}  // namespace cuda

}  // namespace isoflop::ops
