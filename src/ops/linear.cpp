#include "isoflop/ops/linear.hpp"

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
    kernels(context).linear_forward(context, layer, x, y);
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
    const Kernels& device = kernels(context);
    if (kind == model::Activation::gelu_tanh &&
        device.linear_gelu_forward(context, layer, x, y, activated))
        return;
    device.linear_forward(context, layer, x, y);
    device.activation_forward(context, kind, y, activated);
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
    const Kernels& device = kernels(context);
    if (kind == model::Activation::gelu_tanh &&
        device.linear_gelu_backward_input(context, layer, d_y, before, d_before))
        return;
    device.linear_backward_input(context, layer, d_y, false, d_before);
    device.activation_backward(context, kind, before, d_before, d_before);
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
    kernels(context).linear_backward_input(context, layer, d_y, accumulate, d_x);
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
    kernels(context).linear_backward_weight(context, layer, x, d_y, d_weight, d_bias);
}

}  // namespace isoflop::ops
