#include "isoflop/ops/cross_entropy.hpp"

#include <cmath>

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

void check(const Context& context, std::string_view op, const TensorView& logits,
           std::span<const std::int32_t> targets, std::int32_t ignore_index,
           const TensorView& losses) {
    const Checks checks(context, op, "logits", logits, 2);
    checks.require(logits.dim(1) > 0, "logits have no columns");
    checks.statistics("losses", losses, {logits.dim(0)});
    checks.indices("targets", targets, logits.dim(0), logits.dim(1), &ignore_index);
}

}  // namespace

void cross_entropy_forward(Context& context, const TensorView& logits,
                           std::span<const std::int32_t> targets, std::int32_t ignore_index,
                           const TensorView& losses) {
    check(context, "cross_entropy_forward", logits, targets, ignore_index, losses);
    run<cross_entropy_forward>(context, logits, targets, ignore_index, losses);
}

void cross_entropy_forward_backward(Context& context, const TensorView& logits,
                                    std::span<const std::int32_t> targets,
                                    std::int32_t ignore_index, double scale,
                                    const TensorView& losses) {
    check(context, "cross_entropy_forward_backward", logits, targets, ignore_index, losses);
    run<cross_entropy_forward_backward>(context, logits, targets, ignore_index, scale, losses);
}

}  // namespace isoflop::ops
