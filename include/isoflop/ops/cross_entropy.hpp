// Softmax cross-entropy over logits, with the gradient written in place of the logits.
//   loss_t = log(sum_v exp(z_tv)) - z_t,target
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// Targets equal to this are ignored: loss 0, gradient 0.
inline constexpr std::int32_t kIgnoreIndex = -100;

/// logits [rows, V] -> losses [rows]. Logits are kept. Targets are in the memory that the tensors
/// are in.
void cross_entropy_forward(Context& context, const TensorView& logits,
                           std::span<const std::int32_t> targets, std::int32_t ignore_index,
                           const TensorView& losses);
/// As above, and logits become d_logits = scale * (softmax(z) - onehot(target)).
void cross_entropy_forward_backward(Context& context, const TensorView& logits,
                                    std::span<const std::int32_t> targets,
                                    std::int32_t ignore_index, double scale,
                                    const TensorView& losses);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::cross_entropy_forward) cross_entropy_forward;
decltype(ops::cross_entropy_forward_backward) cross_entropy_forward_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::cross_entropy_forward) cross_entropy_forward;
decltype(ops::cross_entropy_forward_backward) cross_entropy_forward_backward;
}  // namespace cuda

}  // namespace isoflop::ops
