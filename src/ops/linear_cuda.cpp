// Linear layers on a GPU: one product each, to which the library adds the bias and, where it can,
// GELU or its gradient; only the bias's gradient is a kernel of ours.
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

bool linear_gelu_forward(Context& context, const Linear& layer, const TensorView& x,
                         const TensorView& y, const TensorView& activated) {
    const DeviceGemm product{.shape = forward_product(layer, x, y),
                             .dtype = y.dtype(),
                             .a = x.data(),
                             .b = layer.weight.data(),
                             .beta = 0,
                             .c = activated.data(),
                             .bias = layer.bias.data(),
                             .epilogue = device::Epilogue::gelu,
                             .gelu_input = y.data()};
    if (!context.accelerator->can_multiply(product)) return false;
    multiply(context, product);
    return true;
}

bool linear_gelu_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                                const TensorView& before, const TensorView& d_before) {
    const DeviceGemm product{.shape = input_gradient_product(layer, d_y, d_before),
                             .dtype = d_before.dtype(),
                             .a = d_y.data(),
                             .b = layer.weight.data(),
                             .beta = 0,
                             .c = d_before.data(),
                             .epilogue = device::Epilogue::gelu_gradient,
                             .gelu_input = before.data()};
    if (!context.accelerator->can_multiply(product)) return false;
    multiply(context, product);
    return true;
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
