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
};

/// A run of elements with or without weight decay.
struct AdamWSegment {
    std::int64_t offset = 0;
    std::int64_t count = 0;
    bool weight_decay = false;
};

/// weights, gradients, first_moment, second_moment: flat, of equal length; segments lie inside.
void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const TensorView& weights, const TensorView& gradients, const TensorView& first_moment,
           const TensorView& second_moment);

}  // namespace isoflop::ops
