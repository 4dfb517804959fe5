// Linear layers are one matrix product each; only the bias is ours.
#include <algorithm>

#include "isoflop/device/gemm.hpp"
#include "ops/cpu_kernels.hpp"
#include "ops/linear_products.hpp"
#include "ops/row_sums.hpp"

namespace isoflop::ops::cpu {
namespace {

using device::GemmShape;

/// Every row becomes the bias, to which the product is then added: no pass over y afterwards.
template <class T>
void start_with_bias(Context& context, const TensorView& bias, const TensorView& y) {
    const std::int64_t width = y.dim(1);
    const T* const values = bias.as<T>().data();
    T* const rows = y.as<T>().data();
    vectorized_rows(context, y.dim(0), width,
                    [=](std::int64_t row) { std::copy_n(values, width, rows + row * width); });
}

template <class T>
void add_column_sums(Context& context, const TensorView& d_y, const TensorView& d_bias) {
    const std::int64_t width = d_y.dim(1);
    const T* const gradients = d_y.as<T>().data();
    const std::span<const T> partials =
        partial_row_sums<T>(context, d_y.dim(0), width, [=](std::int64_t row, T* sums) {
            const T* const gradient = gradients + row * width;
            for_each_independent(width, [=](std::int64_t i) { sums[i] += gradient[i]; });
        });
    add_partial_sums<T>(context, partials, width, 0, d_bias.as<T>());
}

}  // namespace

void linear_forward(Context& context, const Linear& layer, const TensorView& x,
                    const TensorView& y) {
    const GemmShape shape = forward_product(layer, x, y);
    device::visit_dtype(y.dtype(), [&](auto zero) {
        using T = decltype(zero);
        if (!layer.bias.empty()) start_with_bias<T>(context, layer.bias, y);
        device::gemm(context, shape, T(1), x.as<T>().data(), layer.weight.as<T>().data(),
                     layer.bias.empty() ? T(0) : T(1), y.as<T>().data());
    });
}

bool linear_gelu_forward(Context& /*context*/, const Linear& /*layer*/, const TensorView& /*x*/,
                         const TensorView& /*y*/, const TensorView& /*activated*/) {
    return false;
}
bool linear_gelu_backward_input(Context& /*context*/, const Linear& /*layer*/,
                                const TensorView& /*d_y*/, const TensorView& /*before*/,
                                const TensorView& /*d_before*/) {
    return false;
}

void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x) {
    const GemmShape shape = input_gradient_product(layer, d_y, d_x);
    device::visit_dtype(d_x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        device::gemm(context, shape, T(1), d_y.as<T>().data(), layer.weight.as<T>().data(),
                     accumulate ? T(1) : T(0), d_x.as<T>().data());
    });
}

void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias) {
    const WeightGradientProduct product = weight_gradient_product(layer, x, d_y);
    device::visit_dtype(d_weight.dtype(), [&](auto zero) {
        using T = decltype(zero);
        device::gemm(context, product.shape, T(1), product.left.as<T>().data(),
                     product.right.as<T>().data(), T(1), d_weight.as<T>().data());
        if (!d_bias.empty()) add_column_sums<T>(context, d_y, d_bias);
    });
}

}  // namespace isoflop::ops::cpu
