#include "isoflop/ops/reduction.hpp"

#include <algorithm>
#include <cmath>

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

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
    return deferred_sum_of_squares(context, x).get();
}

double sum(Context& context, const TensorView& x) {
    return deferred_sum(context, x).get();
}

DeferredValue deferred_sum_of_squares(Context& context, const TensorView& x) {
    (void)check_any_rank(context, "sum_of_squares", "x", x);
    return run<deferred_sum_of_squares>(context, x);
}

TensorStatistics statistics(Context& context, const TensorView& x) {
    (void)check_any_rank(context, "statistics", "x", x);
    return run<statistics>(context, x);
}

DeferredValue deferred_sum(Context& context, const TensorView& x) {
    (void)check_any_rank(context, "sum", "x", x);
    return run<deferred_sum>(context, x);
}

void add_column_sums(Context& context, const TensorView& matrix, const TensorView& sums) {
    const Checks checks(context, "add_column_sums", "matrix", matrix, 2);
    checks.shape("sums", sums, {matrix.dim(1)});
    run<add_column_sums>(context, matrix, sums);
}

void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out) {
    const Checks checks = check_any_rank(context, "add", "x", x);
    checks.same_shape("y", y, x);
    checks.same_shape("out", out, x);
    run<add>(context, x, y, out);
}

void scale(Context& context, double factor, const TensorView& x) {
    (void)check_any_rank(context, "scale", "x", x);
    run<scale>(context, factor, x);
}

void fill(Context& context, double value, const TensorView& x) {
    (void)check_any_rank(context, "fill", "x", x);
    run<fill>(context, value, x);
}

void copy(Context& context, const TensorView& from, const TensorView& to) {
    (void)check_any_rank(context, "copy", "from", from);
    check_any_rank(context, "copy", "to", to).same_shape("to", to, from, to.dtype());
    if (from.data() == to.data()) return;
    run<copy>(context, from, to);
}

std::uint64_t checksum(Context& context, const TensorView& x) {
    (void)check_any_rank(context, "checksum", "x", x);
    return run<checksum>(context, x);
}

}  // namespace isoflop::ops
