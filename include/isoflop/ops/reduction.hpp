// Sums over flat tensors that do not depend on the number of threads: fixed chunks, double
// accumulators, chunk order.
#pragma once

#include <cstdint>

#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

struct TensorStatistics {
    std::int64_t count = 0;       ///< finite elements
    std::int64_t non_finite = 0;  ///< NaN or infinite; they are left out of the sums below
    double sum = 0;
    double sum_of_squares = 0;
    double minimum = 0;
    double maximum = 0;
    [[nodiscard]] double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
    [[nodiscard]] double standard_deviation() const;
};

using device::DeferredValue;

/// Sum of squares; infinite or NaN when any element is.
[[nodiscard]] double sum_of_squares(Context& context, const TensorView& x);
[[nodiscard]] TensorStatistics statistics(Context& context, const TensorView& x);
/// Merges statistics of two disjoint tensors.
[[nodiscard]] TensorStatistics combine(const TensorStatistics& a, const TensorStatistics& b);
/// Sum of all elements in double, fixed order.
[[nodiscard]] double sum(Context& context, const TensorView& x);
/// The same without waiting for a GPU.
[[nodiscard]] DeferredValue deferred_sum_of_squares(Context& context, const TensorView& x);
[[nodiscard]] DeferredValue deferred_sum(Context& context, const TensorView& x);
/// A checksum: it differs, except with probability 2^-64, when any bit of the tensor differs. The
/// sum over its 32-bit words (the last one filled up with zeros) of mix(word + 2^32 * index),
/// modulo 2^64, with the finaliser of SplitMix64 (Steele 2014).
[[nodiscard]] std::uint64_t checksum(Context& context, const TensorView& x);

/// sums[c] += sum over rows of matrix[row, c], in an order that depends on the shape alone; rounded
/// once. matrix [rows, columns], sums [columns].
void add_column_sums(Context& context, const TensorView& matrix, const TensorView& sums);

/// out = x + y (out may alias either).
void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out);
/// x *= factor.
void scale(Context& context, double factor, const TensorView& x);
void fill(Context& context, double value, const TensorView& x);
/// Element types may differ; numbers are then rounded to nearest.
void copy(Context& context, const TensorView& from, const TensorView& to);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::deferred_sum_of_squares) deferred_sum_of_squares;
decltype(ops::statistics) statistics;
decltype(ops::deferred_sum) deferred_sum;
decltype(ops::checksum) checksum;
decltype(ops::add_column_sums) add_column_sums;
decltype(ops::add) add;
decltype(ops::scale) scale;
decltype(ops::fill) fill;
decltype(ops::copy) copy;
}  // namespace cpu
namespace cuda {
decltype(ops::deferred_sum_of_squares) deferred_sum_of_squares;
decltype(ops::statistics) statistics;
decltype(ops::deferred_sum) deferred_sum;
decltype(ops::checksum) checksum;
decltype(ops::add_column_sums) add_column_sums;
decltype(ops::add) add;
decltype(ops::scale) scale;
decltype(ops::fill) fill;
decltype(ops::copy) copy;
}  // namespace cuda

}  // namespace isoflop::ops
