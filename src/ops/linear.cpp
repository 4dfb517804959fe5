// A linear layer is a product by the device's library, which adds the bias and, where it can, takes
// GELU or its gradient; the gradient of the bias is an op of its own.
#include "isoflop/ops/linear.hpp"

#include "isoflop/device/device.hpp"
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/reduction.hpp"
#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

struct LinearSize {
    std::int64_t in = 0;
    std::int64_t out = 0;
};

/// Checks the layer's own tensors.
LinearSize size_of(const Checks& checks, const Linear& layer) {
    const bool out_first = layer.order == WeightOrder::out_in;
    const LinearSize size{.in = layer.weight.dim(out_first ? 1 : 0),
                          .out = layer.weight.dim(out_first ? 0 : 1)};
    if (!layer.bias.empty()) checks.shape("bias", layer.bias, {size.out});
    return size;
}

/// Rows of a [T, width] tensor; its columns are left to `shape`.
std::int64_t rows_of(const Checks& checks, std::string_view name, const TensorView& tensor) {
    checks.require(tensor.rank() == 2, "{} has {} dimension(s), expected 2", name, tensor.rank());
    return tensor.dim(0);
}

void record(const Context& context, const Linear& layer, cost::Pass pass, std::int64_t rows,
            const LinearSize& size) {
    context.record(layer.name, pass, static_cast<std::uint64_t>(rows * size.in * size.out));
}

using device::DeviceGemm;

/// Products of nothing are none: the result has no elements, or nothing is added to it.
void multiply(Context& context, const DeviceGemm& product) {
    const bool adds_nothing = product.shape.k == 0 && product.beta == 1;
    if (product.shape.m == 0 || product.shape.n == 0 || adds_nothing) return;
    context.device.gemm(context.pool, product);
}

/// False, and nothing has been computed, where the device does not take the product's epilogue.
bool multiply_if_possible(Context& context, const DeviceGemm& product) {
    if (product.shape.m == 0 || product.shape.n == 0) return true;
    return context.device.try_gemm(context.pool, product);
}

/// y = x op(W) + bias
DeviceGemm forward_product(const Linear& layer, const TensorView& x, const TensorView& y) {
    const bool out_first = layer.order == WeightOrder::out_in;
    return {.shape = {.transpose_a = device::Transpose::no,
                      .transpose_b = out_first ? device::Transpose::yes : device::Transpose::no,
                      .m = x.dim(0),
                      .n = y.dim(1),
                      .k = x.dim(1),
                      .lda = x.dim(1),
                      .ldb = layer.weight.dim(1),
                      .ldc = y.dim(1)},
            .dtype = y.dtype(),
            .a = x.data(),
            .b = layer.weight.data(),
            .c = y.data(),
            .bias = layer.bias.data()};
}

/// d_x = d_y op(W)^T
DeviceGemm input_gradient_product(const Linear& layer, const TensorView& d_y,
                                  const TensorView& d_x) {
    const bool out_first = layer.order == WeightOrder::out_in;
    return {.shape = {.transpose_a = device::Transpose::no,
                      .transpose_b = out_first ? device::Transpose::no : device::Transpose::yes,
                      .m = d_y.dim(0),
                      .n = d_x.dim(1),
                      .k = d_y.dim(1),
                      .lda = d_y.dim(1),
                      .ldb = layer.weight.dim(1),
                      .ldc = d_x.dim(1)},
            .dtype = d_x.dtype(),
            .a = d_y.data(),
            .b = layer.weight.data(),
            .c = d_x.data()};
}

/// d_W += left^T right: d_y and x, in the order of the weight's dimensions.
DeviceGemm weight_gradient_product(const Linear& layer, const TensorView& x, const TensorView& d_y,
                                   const TensorView& d_weight) {
    const bool out_first = layer.order == WeightOrder::out_in;
    const TensorView& left = out_first ? d_y : x;
    const TensorView& right = out_first ? x : d_y;
    return {.shape = {.transpose_a = device::Transpose::yes,
                      .transpose_b = device::Transpose::no,
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
            .c = d_weight.data()};
}

}  // namespace

void linear_forward(Context& context, const Linear& layer, const TensorView& x, const TensorView& y,
                    cost::Pass pass) {
    const Checks checks(context, "linear_forward", "weight", layer.weight, 2);
    const LinearSize size = size_of(checks, layer);
    const std::int64_t rows = rows_of(checks, "x", x);
    checks.shape("x", x, {rows, size.in});
    checks.shape("y", y, {rows, size.out});
    checks.distinct("y", y, "x", x);
    record(context, layer, pass, rows, size);
    multiply(context, forward_product(layer, x, y));
}

void linear_activation_forward(Context& context, const Linear& layer, model::Activation kind,
                               const TensorView& x, const TensorView& y,
                               const TensorView& activated, cost::Pass pass) {
    const Checks checks(context, "linear_activation_forward", "weight", layer.weight, 2);
    const LinearSize size = size_of(checks, layer);
    const std::int64_t rows = rows_of(checks, "x", x);
    checks.shape("x", x, {rows, size.in});
    checks.shape("y", y, {rows, size.out});
    checks.same_shape("activated", activated, y);
    checks.distinct("y", y, "x", x);
    checks.distinct("activated", activated, "y", y);
    record(context, layer, pass, rows, size);
    if (kind == model::Activation::gelu_tanh) {
        DeviceGemm both = forward_product(layer, x, activated);
        both.epilogue = device::Epilogue::gelu;
        both.gelu_input = y.data();
        if (multiply_if_possible(context, both)) return;
    }
    multiply(context, forward_product(layer, x, y));
    run<activation_forward>(context, kind, y, activated);
}

void linear_activation_backward_input(Context& context, const Linear& layer, model::Activation kind,
                                      const TensorView& d_y, const TensorView& before,
                                      const TensorView& d_before) {
    const Checks checks(context, "linear_activation_backward_input", "weight", layer.weight, 2);
    const LinearSize size = size_of(checks, layer);
    const std::int64_t rows = rows_of(checks, "d_y", d_y);
    checks.shape("d_y", d_y, {rows, size.out});
    checks.shape("before", before, {rows, size.in});
    checks.same_shape("d_before", d_before, before);
    checks.distinct("d_before", d_before, "d_y", d_y);
    checks.distinct("d_before", d_before, "before", before);
    record(context, layer, cost::Pass::backward, rows, size);
    const DeviceGemm product = input_gradient_product(layer, d_y, d_before);
    if (kind == model::Activation::gelu_tanh) {
        DeviceGemm both = product;
        both.epilogue = device::Epilogue::gelu_gradient;
        both.gelu_input = before.data();
        if (multiply_if_possible(context, both)) return;
    }
    multiply(context, product);
    run<activation_backward>(context, kind, before, d_before, d_before);
}

void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x) {
    const Checks checks(context, "linear_backward_input", "weight", layer.weight, 2);
    const LinearSize size = size_of(checks, layer);
    const std::int64_t rows = rows_of(checks, "d_y", d_y);
    checks.shape("d_y", d_y, {rows, size.out});
    checks.shape("d_x", d_x, {rows, size.in});
    checks.distinct("d_x", d_x, "d_y", d_y);
    record(context, layer, cost::Pass::backward, rows, size);
    DeviceGemm product = input_gradient_product(layer, d_y, d_x);
    product.beta = accumulate ? 1.0F : 0.0F;
    multiply(context, product);
}

void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias) {
    const Checks checks(context, "linear_backward_weight", "weight", layer.weight, 2);
    const LinearSize size = size_of(checks, layer);
    const std::int64_t rows = rows_of(checks, "x", x);
    checks.shape("x", x, {rows, size.in});
    checks.shape("d_y", d_y, {rows, size.out});
    checks.same_shape("d_weight", d_weight, layer.weight);
    checks.together("bias", layer.bias, "d_bias", d_bias);
    if (!d_bias.empty()) checks.shape("d_bias", d_bias, {size.out});
    record(context, layer, cost::Pass::backward, rows, size);
    multiply(context, weight_gradient_product(layer, x, d_y, d_weight));
    if (!d_bias.empty()) run<add_column_sums>(context, d_y, d_bias);
}

}  // namespace isoflop::ops
