// The matrix products of a linear layer, the same on every device.
#pragma once

#include "isoflop/device/gemm.hpp"
#include "isoflop/ops/linear.hpp"

namespace isoflop::ops {

/// y = x op(W)
[[nodiscard]] inline device::GemmShape forward_product(const Linear& layer, const TensorView& x,
                                                       const TensorView& y) {
    const bool out_first = layer.order == WeightOrder::out_in;
    return {.transpose_a = device::Transpose::no,
            .transpose_b = out_first ? device::Transpose::yes : device::Transpose::no,
            .m = x.dim(0),
            .n = y.dim(1),
            .k = x.dim(1),
            .lda = x.dim(1),
            .ldb = layer.weight.dim(1),
            .ldc = y.dim(1)};
}

/// d_x = d_y op(W)^T
[[nodiscard]] inline device::GemmShape input_gradient_product(const Linear& layer,
                                                              const TensorView& d_y,
                                                              const TensorView& d_x) {
    const bool out_first = layer.order == WeightOrder::out_in;
    return {.transpose_a = device::Transpose::no,
            .transpose_b = out_first ? device::Transpose::no : device::Transpose::yes,
            .m = d_y.dim(0),
            .n = d_x.dim(1),
            .k = d_y.dim(1),
            .lda = d_y.dim(1),
            .ldb = layer.weight.dim(1),
            .ldc = d_x.dim(1)};
}

/// d_W = left^T right: d_y and x, in the order of the weight's dimensions.
struct WeightGradientProduct {
    const TensorView& left;
    const TensorView& right;
    device::GemmShape shape;
};
[[nodiscard]] inline WeightGradientProduct weight_gradient_product(const Linear& layer,
                                                                   const TensorView& x,
                                                                   const TensorView& d_y) {
    const bool out_first = layer.order == WeightOrder::out_in;
    const TensorView& left = out_first ? d_y : x;
    const TensorView& right = out_first ? x : d_y;
    return {left,
            right,
            {.transpose_a = device::Transpose::yes,
             .transpose_b = device::Transpose::no,
             .m = left.dim(1),
             .n = right.dim(1),
             .k = x.dim(0),
             .lda = left.dim(1),
             .ldb = right.dim(1),
             .ldc = right.dim(1)}};
}

}  // namespace isoflop::ops
