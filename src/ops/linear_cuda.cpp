// Linear layers on a GPU: one product each, to which the library adds the bias; only the bias's
// gradient is a kernel of ours.
#include "isoflop/device/accelerator.hpp"
#include "ops/column_sums_cuda.hpp"
#include "ops/cuda_kernels.hpp"
#include "ops/linear_products.hpp"

namespace isoflop::ops::cuda {
namespace {

using device::DeviceGemm;

/// Products of nothing are none: the result has no elements, or nothing is added to it.
void multiply(Context& context, const DeviceGemm& product) {
    const bool adds_nothing = product.shape.k == 0 && product.beta == 1;
    if (product.shape.m == 0 || product.shape.n == 0 || adds_nothing) return;
    context.accelerator->gemm(product);
}

}  // namespace

void linear_forward(Context& context, const Linear& layer, const TensorView& x,
                    const TensorView& y) {
    multiply(context, {.shape = forward_product(layer, x, y),
                       .dtype = y.dtype(),
                       .a = x.data(),
                       .b = layer.weight.data(),
                       .beta = 0,
                       .c = y.data(),
                       .bias = layer.bias.data()});
}

void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x) {
    multiply(context, {.shape = input_gradient_product(layer, d_y, d_x),
                       .dtype = d_x.dtype(),
                       .a = d_y.data(),
                       .b = layer.weight.data(),
                       .beta = accumulate ? 1.0F : 0.0F,
                       .c = d_x.data()});
}

void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias) {
    const WeightGradientProduct product = weight_gradient_product(layer, x, d_y);
    multiply(context, {.shape = product.shape,
                       .dtype = d_weight.dtype(),
                       .a = product.left.data(),
                       .b = product.right.data(),
                       .beta = 1,
                       .c = d_weight.data()});
    if (!d_bias.empty()) add_column_sums(context, d_y, d_bias);
}

}  // namespace isoflop::ops::cuda
