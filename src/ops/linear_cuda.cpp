// Linear layers on a GPU: one product each, to which the library adds the bias; only the bias's
// gradient is a kernel of ours.
#include "isoflop/device/accelerator.hpp"
#include "ops/column_sums_cuda.hpp"
#include "ops/cuda_kernels.hpp"

namespace isoflop::ops::cuda {
namespace {

using device::DeviceGemm;
using device::GemmShape;
using device::Transpose;

/// Products of nothing are none: the result has no elements, or nothing is added to it.
void multiply(Context& context, const DeviceGemm& product) {
    const bool adds_nothing = product.shape.k == 0 && product.beta == 1;
    if (product.shape.m == 0 || product.shape.n == 0 || adds_nothing) return;
    context.accelerator->gemm(product);
}

}  // namespace

void linear_forward(Context& context, const Linear& layer, const TensorView& x,
                    const TensorView& y) {
    const bool out_first = layer.order == WeightOrder::out_in;
    multiply(context, {.shape = {.transpose_a = Transpose::no,
                                 .transpose_b = out_first ? Transpose::yes : Transpose::no,
                                 .m = x.dim(0),
                                 .n = y.dim(1),
                                 .k = x.dim(1),
                                 .lda = x.dim(1),
                                 .ldb = layer.weight.dim(1),
                                 .ldc = y.dim(1)},
                       .dtype = y.dtype(),
                       .a = x.data(),
                       .b = layer.weight.data(),
                       .beta = 0,
                       .c = y.data(),
                       .bias = layer.bias.data()});
}

void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x) {
    const bool out_first = layer.order == WeightOrder::out_in;
    multiply(context, {.shape = {.transpose_a = Transpose::no,
                                 .transpose_b = out_first ? Transpose::no : Transpose::yes,
                                 .m = d_y.dim(0),
                                 .n = d_x.dim(1),
                                 .k = d_y.dim(1),
                                 .lda = d_y.dim(1),
                                 .ldb = layer.weight.dim(1),
                                 .ldc = d_x.dim(1)},
                       .dtype = d_x.dtype(),
                       .a = d_y.data(),
                       .b = layer.weight.data(),
                       .beta = accumulate ? 1.0F : 0.0F,
                       .c = d_x.data()});
}

void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias) {
    const bool out_first = layer.order == WeightOrder::out_in;
    const TensorView& left = out_first ? d_y : x;
    const TensorView& right = out_first ? x : d_y;
    multiply(context, {.shape = {.transpose_a = Transpose::yes,
                                 .transpose_b = Transpose::no,
                                 .m = left.dim(1),
                                 .n = right.dim(1),
                                 .k = x.dim(0),
                                 .lda = left.dim(1),
                                 .ldb = right.dim(1),
                                 .ldc = right.dim(1)},
                       .dtype = d_weight.dtype(),
                       .a = left.data(),
                       .b = right.data(),
                       .beta = 1,
                       .c = d_weight.data()});
    if (!d_bias.empty()) add_column_sums(context, d_y, d_bias);
}

}  // namespace isoflop::ops::cuda
