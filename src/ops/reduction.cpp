#include "isoflop/ops/reduction.hpp"

#include <algorithm>
#include <cmath>

#include "ops/checks.hpp"
#include "ops/cpu_kernels.hpp"

namespace isoflop::ops {

double TensorStatistics::standard_deviation() const {
    if (count == 0) return 0;
    const double average = mean();
    // Rounding may leave a tiny negative difference for nearly constant values.
    return std::sqrt(
        std::max(0.0, sum_of_squares / static_cast<double>(count) - average * average));
}

TensorStatistics combine(const TensorStatistics& a, const TensorStatistics& b) {
    TensorStatistics both = a.count > 0 ? a : b;
    both.non_finite = a.non_finite + b.non_finite;
    if (a.count == 0 || b.count == 0) return both;
    both.count = a.count + b.count;
    both.sum = a.sum + b.sum;
    both.sum_of_squares = a.sum_of_squares + b.sum_of_squares;
    both.minimum = std::min(a.minimum, b.minimum);
    both.maximum = std::max(a.maximum, b.maximum);
    return both;
}

double sum_of_squares(Context& context, const TensorView& x) {
    (void)check_any_rank("sum_of_squares", "x", x);
    return cpu::sum_of_squares(context, x);
}

TensorStatistics statistics(Context& context, const TensorView& x) {
    (void)check_any_rank("statistics", "x", x);
    return cpu::statistics(context, x);
}

double sum(Context& context, const TensorView& x) {
    (void)check_any_rank("sum", "x", x);
    return cpu::sum(context, x);
}

void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out) {
    const Checks checks = check_any_rank("add", "x", x);
    checks.same_shape("y", y, x);
    checks.same_shape("out", out, x);
    cpu::add(context, x, y, out);
}

void scale(Context& context, double factor, const TensorView& x) {
    (void)check_any_rank("scale", "x", x);
    cpu::scale(context, factor, x);
}

void fill(Context& context, double value, const TensorView& x) {
    (void)check_any_rank("fill", "x", x);
    cpu::fill(context, value, x);
}

void copy(Context& context, const TensorView& from, const TensorView& to) {
    const Checks checks = check_any_rank("copy", "from", from);
    checks.same_shape("to", to, from);
    if (from.data() == to.data()) return;
    cpu::copy(context, from, to);
}

}  // namespace isoflop::ops
