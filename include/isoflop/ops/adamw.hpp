// AdamW with decoupled weight decay (Loshchilov & Hutter 2019), fused over all tensors of a flat
// parameter region.
//   m = beta1 m + (1-beta1) g,  v = beta2 v + (1-beta2) g^2
//   w -= lr * (m / (1-beta1^t) / (sqrt(v / (1-beta2^t)) + eps) + decay * w)
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

struct AdamWOptions {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;
    std::int64_t step = 1;        ///< t, counted from 1, for bias correction
    double gradient_scale = 1.0;  ///< gradients are multiplied by it first (clipping, averaging)
    /// 16-bit weights: rounded up or down at random, so that the mean is the master weight, instead
    /// of to nearest. A pure function of (seed, step, first_element + index).
    bool stochastic_rounding = false;
    std::uint64_t rounding_seed = 0;
    std::uint64_t first_element = 0;  ///< of the whole state
};

/// A run of elements with or without weight decay.
struct AdamWSegment {
    std::int64_t offset = 0;
    std::int64_t count = 0;
    bool weight_decay = false;
};

/// Flat, of equal length. Weights of 16 bits are the rounded copy of fp32 master weights, which the
/// update is made on; moments are fp32 beside them.
struct AdamWState {
    TensorView weights;
    TensorView gradients;
    TensorView first_moment;
    TensorView second_moment;
    TensorView master_weights;  ///< empty where weights are fp32
};

/// Segments lie inside the tensors.
void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const AdamWState& state);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::adamw) adamw;
}  // namespace cpu
namespace cuda {
decltype(ops::adamw) adamw;
}  // namespace cuda

}  // namespace isoflop::ops
