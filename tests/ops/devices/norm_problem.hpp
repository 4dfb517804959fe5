// A norm whose tensors are on a device.
#pragma once

#include <string>

#include "isoflop/ops/norm.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {

struct NormCase {
    DType dtype = DType::float32;
    model::Normalization kind = model::Normalization::rmsnorm;
    bool has_bias = false;
    std::int64_t rows = 0;
    std::int64_t width = 0;
    std::int64_t shift = 0;
};

inline std::string describe(const NormCase& c) {
    return std::string(short_name(c.dtype)) + " " + std::string(to_string(c.kind)) + ", " +
           std::to_string(c.rows) + " rows of " + std::to_string(c.width) + ", shifted by " +
           std::to_string(c.shift);
}

/// All tensors of one norm in device memory. x has a mean, so that centring matters.
struct NormProblem {
    NormProblem(device::Device& device, const NormCase& c)
        : x(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 1, 0.5), c.shift),
          branch(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 2)),
          sum(device, c.dtype, {c.rows, c.width}),
          out(device, c.dtype, {c.rows, c.width}),
          weight(device, c.dtype, {c.width}, random_values(c.width, 3, 1)),
          bias(device, c.dtype, {c.width}, random_values(c.width, 4)),
          d_out(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 5)),
          d_x(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 6)),
          d_weight(device, c.dtype, {c.width}, random_values(c.width, 7)),
          d_bias(device, c.dtype, {c.width}, random_values(c.width, 8)),
          statistics(device, DType::float32,
                     {c.kind == model::Normalization::rmsnorm ? c.rows : 2 * c.rows}),
          case_(c) {}

    [[nodiscard]] ops::NormParameters parameters() const {
        return {.kind = case_.kind,
                .weight = weight.view(),
                .bias = case_.has_bias ? bias.view() : TensorView()};
    }
    [[nodiscard]] TensorView statistics_view() const {
        if (case_.kind == model::Normalization::rmsnorm) return statistics.view();
        return {statistics.view().data(), DType::float32, {2, case_.rows}};
    }
    [[nodiscard]] TensorView d_bias_view() const {
        return case_.has_bias ? d_bias.view() : TensorView();
    }
    void forward(Context& context) const {
        ops::norm_forward(context, parameters(), x.view(), out.view(), statistics_view());
    }
    void add_forward(Context& context) const {
        ops::add_norm_forward(context, parameters(), x.view(), branch.view(), sum.view(),
                              out.view(), statistics_view());
    }
    void backward(Context& context, bool accumulate) const {
        ops::norm_backward(context, parameters(), d_out.view(), x.view(), statistics_view(),
                           accumulate, d_x.view(), d_weight.view(), d_bias_view());
    }

    DeviceTensor x, branch, sum, out, weight, bias, d_out, d_x, d_weight, d_bias, statistics;

private:
    NormCase case_;
};

}  // namespace isoflop::test
