#include "isoflop/ops/activation.hpp"

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

/// F of a gate_up tensor [T, 2F].
std::int64_t gated_width(const Checks& checks, const TensorView& gate_up) {
    const std::int64_t packed_width = gate_up.dim(1);
    checks.require(packed_width % 2 == 0, "gate_up has {} columns, expected an even number",
                   packed_width);
    return packed_width / 2;
}

}  // namespace

void activation_forward(Context& context, model::Activation kind, const TensorView& x,
                        const TensorView& out) {
    const Checks checks = check_any_rank(context, "activation_forward", "x", x);
    checks.same_shape("out", out, x);
    run<activation_forward>(context, kind, x, out);
}

void activation_backward(Context& context, model::Activation kind, const TensorView& x,
                         const TensorView& d_out, const TensorView& d_x) {
    const Checks checks = check_any_rank(context, "activation_backward", "x", x);
    checks.same_shape("d_out", d_out, x);
    checks.same_shape("d_x", d_x, x);
    run<activation_backward>(context, kind, x, d_out, d_x);
}

void gated_forward(Context& context, model::Activation kind, const TensorView& gate_up,
                   const TensorView& out) {
    const Checks checks(context, "gated_forward", "gate_up", gate_up, 2);
    checks.shape("out", out, {gate_up.dim(0), gated_width(checks, gate_up)});
    checks.distinct("out", out, "gate_up", gate_up);
    run<gated_forward>(context, kind, gate_up, out);
}

void gated_backward(Context& context, model::Activation kind, const TensorView& gate_up,
                    const TensorView& d_out, const TensorView& d_gate_up) {
    const Checks checks(context, "gated_backward", "gate_up", gate_up, 2);
    checks.shape("d_out", d_out, {gate_up.dim(0), gated_width(checks, gate_up)});
    checks.same_shape("d_gate_up", d_gate_up, gate_up);
    checks.distinct("d_gate_up", d_gate_up, "d_out", d_out);
    run<gated_backward>(context, kind, gate_up, d_out, d_gate_up);
}

void soft_cap_forward(Context& context, double cap, const TensorView& x) {
    const Checks checks = check_any_rank(context, "soft_cap_forward", "x", x);
    checks.require(cap > 0, "cap is {}, expected > 0", cap);
    run<soft_cap_forward>(context, cap, x);
}

void soft_cap_backward(Context& context, double cap, const TensorView& capped,
                       const TensorView& d) {
    const Checks checks = check_any_rank(context, "soft_cap_backward", "capped", capped);
    checks.require(cap > 0, "cap is {}, expected > 0", cap);
    checks.same_shape("d", d, capped);
    checks.distinct("d", d, "capped", capped);
    run<soft_cap_backward>(context, cap, capped, d);
}

}  // namespace isoflop::ops
