#include "isoflop/ops/norm.hpp"

#include "ops/norm_rows.hpp"
#include "ops/row_sums.hpp"

namespace isoflop::ops::cpu {
namespace {

template <class T>
T* data_or_null(const TensorView& tensor) {
    return tensor.empty() ? nullptr : tensor.as<T>().data();
}

/// visit(std::bool_constant<centred>) for layer norms and RMSNorm.
template <class Visitor>
void visit_centered(model::Normalization kind, const Visitor& visit) {
    if (kind == model::Normalization::rmsnorm) return visit(std::false_type{});
    visit(std::true_type{});
}

template <bool kCentered, class T>
void forward_rows(Context& context, const NormParameters& parameters, const TensorView& x,
                  const TensorView& branch, const TensorView& sum, const TensorView& out,
                  const TensorView& statistics) {
    const std::int64_t rows = x.dim(0);
    const std::int64_t width = x.dim(1);
    const double eps = parameters.eps;
    const T offset = weight_offset<T>(parameters.adds_one);
    const T* const weight = parameters.weight.as<T>().data();
    const T* const bias = data_or_null<T>(parameters.bias);
    const T* const inputs = x.as<T>().data();
    const T* const branches = data_or_null<T>(branch);
    T* const sums = data_or_null<T>(sum);
    T* const outputs = out.as<T>().data();
    T* const saved = statistics.as<T>().data();
    vectorized_rows(context, rows, width, [=](std::int64_t row) {
        const T* input = inputs + row * width;
        if (branches != nullptr) {
            const T* const added = branches + row * width;
            T* const total = sums + row * width;
            for_each_independent(width, [=](std::int64_t i) { total[i] = input[i] + added[i]; });
            input = total;
        }
        const RowStatistics<T> stats = row_statistics<kCentered>(input, width, eps);
        if constexpr (kCentered) saved[row] = stats.mean;
        saved[kCentered ? rows + row : row] = stats.inverse;
        T* const output = outputs + row * width;
        const auto normalised = [=](std::int64_t i) {
            return (input[i] - stats.mean) * stats.inverse * (weight[i] + offset);
        };
        if (bias == nullptr) {
            for_each_independent(width, [=](std::int64_t i) { output[i] = normalised(i); });
        } else {
            for_each_independent(width,
                                 [=](std::int64_t i) { output[i] = normalised(i) + bias[i]; });
        }
    });
}

/// d_x of one row, and its part in the gradients of weight and bias (`d_bias` may be null).
template <bool kCentered, bool kAccumulate, class T>
[[gnu::always_inline]] inline void backward_row(const T* d_out, const T* weight, T offset,
                                                const T* x, RowStatistics<T> stats,
                                                std::int64_t width, T* d_x, T* d_weight,
                                                T* d_bias) {
    const RowGradient<T> gradient = row_gradient<kCentered>(d_out, weight, x, stats, width, offset);
    if (d_bias != nullptr) {
        for_each_independent(width, [=](std::int64_t i) { d_bias[i] += d_out[i]; });
    }
    for_each_independent(width, [=](std::int64_t i) {
        const T d_y = d_out[i];
        const T centered = x[i] - stats.mean;
        const T d_input = stats.inverse * (d_y * (weight[i] + offset)) - gradient.offset -
                          centered * gradient.slope;
        d_weight[i] += d_y * (centered * stats.inverse);
        d_x[i] = kAccumulate ? d_x[i] + d_input : d_input;
    });
}

template <bool kCentered, bool kAccumulate, class T>
void backward_rows(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, const TensorView& d_x,
                   const TensorView& d_weight, const TensorView& d_bias) {
    const std::int64_t rows = x.dim(0);
    const std::int64_t width = x.dim(1);
    const bool has_bias = !d_bias.empty();
    const T* const weight = parameters.weight.as<T>().data();
    const T* const d_outputs = d_out.as<T>().data();
    const T offset = weight_offset<T>(parameters.adds_one);
    const T* const inputs = x.as<T>().data();
    const T* const saved = statistics.as<T>().data();
    T* const d_inputs = d_x.as<T>().data();
    const std::int64_t sums_width = has_bias ? 2 * width : width;
    const std::span<const T> partials =
        partial_row_sums<T>(context, rows, sums_width, [=](std::int64_t row, T* sums) {
            const RowStatistics<T> stats = {kCentered ? saved[row] : T(0),
                                            saved[kCentered ? rows + row : row]};
            backward_row<kCentered, kAccumulate>(
                d_outputs + row * width, weight, offset, inputs + row * width, stats, width,
                d_inputs + row * width, sums, has_bias ? sums + width : nullptr);
        });
    add_partial_sums<T>(context, partials, sums_width, 0, d_weight.as<T>());
    if (has_bias) add_partial_sums<T>(context, partials, sums_width, width, d_bias.as<T>());
}

}  // namespace

void add_norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                      const TensorView& branch, const TensorView& sum, const TensorView& out,
                      const TensorView& statistics) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        visit_centered(parameters.kind, [&](auto centered) {
            forward_rows<centered.value, decltype(zero)>(context, parameters, x, branch, sum, out,
                                                         statistics);
        });
    });
}

void norm_backward(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, bool accumulate,
                   const TensorView& d_x, const TensorView& d_weight, const TensorView& d_bias) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_centered(parameters.kind, [&](auto centered) {
            if (accumulate) {
                backward_rows<centered.value, true, T>(context, parameters, d_out, x, statistics,
                                                       d_x, d_weight, d_bias);
            } else {
                backward_rows<centered.value, false, T>(context, parameters, d_out, x, statistics,
                                                        d_x, d_weight, d_bias);
            }
        });
    });
}

}  // namespace isoflop::ops::cpu
