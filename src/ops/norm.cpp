#include "isoflop/ops/norm.hpp"

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

/// What forward and backward have in common: parameters and statistics fit the input x [T, H].
void check_norm(const Checks& checks, const NormParameters& parameters, const TensorView& x,
                const TensorView& statistics) {
    const std::int64_t rows = x.dim(0);
    const std::int64_t width = x.dim(1);
    checks.require(width > 0, "x has no columns");
    checks.require(parameters.eps >= 0, "eps is {}, expected >= 0", parameters.eps);
    checks.shape("weight", parameters.weight, {width});
    if (!parameters.bias.empty()) {
        checks.require(parameters.kind == model::Normalization::layernorm, "a {} has no bias",
                       to_string(parameters.kind));
        checks.shape("bias", parameters.bias, {width});
    }
    if (parameters.kind == model::Normalization::rmsnorm) {
        checks.statistics("statistics", statistics, {rows});
    } else {
        checks.statistics("statistics", statistics, {2, rows});
    }
}

}  // namespace

void norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                  const TensorView& out, const TensorView& statistics) {
    const Checks checks(context, "norm_forward", "x", x, 2);
    check_norm(checks, parameters, x, statistics);
    checks.same_shape("out", out, x);
    run<add_norm_forward>(context, parameters, x, TensorView(), TensorView(), out, statistics);
}

void add_norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                      const TensorView& branch, const TensorView& sum, const TensorView& out,
                      const TensorView& statistics) {
    const Checks checks(context, "add_norm_forward", "x", x, 2);
    check_norm(checks, parameters, x, statistics);
    checks.same_shape("branch", branch, x);
    checks.same_shape("sum", sum, x);
    checks.same_shape("out", out, x);
    checks.distinct("out", out, "sum", sum);
    run<add_norm_forward>(context, parameters, x, branch, sum, out, statistics);
}

void norm_backward(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, bool accumulate,
                   const TensorView& d_x, const TensorView& d_weight, const TensorView& d_bias) {
    const Checks checks(context, "norm_backward", "x", x, 2);
    check_norm(checks, parameters, x, statistics);
    checks.same_shape("d_out", d_out, x);
    checks.same_shape("d_x", d_x, x);
    checks.same_shape("d_weight", d_weight, parameters.weight);
    checks.together("bias", parameters.bias, "d_bias", d_bias);
    if (!d_bias.empty()) checks.same_shape("d_bias", d_bias, parameters.bias);
    if (accumulate) checks.distinct("d_x", d_x, "d_out", d_out);
    run<norm_backward>(context, parameters, d_out, x, statistics, accumulate, d_x, d_weight,
                       d_bias);
}

}  // namespace isoflop::ops
