// Normalising one row, shared by the norms over the hidden size and over query and key heads.
//
// With n_i = (x_i - mean) / s, y_i = n_i w_i and g_i = d_y_i w_i:
//   d_x_i = (g_i - mean(g) - n_i mean(g n)) / s
// RMSNorm is the same with mean = 0 and without the mean(g) term.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/vectorize.hpp"

namespace isoflop::ops {

template <class T>
struct RowStatistics {
    T mean = 0;
    T inverse = 0;  ///< 1 / s
};

/// Two passes over a row in cache: subtracting the mean first keeps a small variance accurate.
template <bool kCentered, class T>
[[gnu::always_inline]] inline RowStatistics<T> row_statistics(const T* x, std::int64_t width,
                                                              double eps) {
    const T count = static_cast<T>(width);
    T mean = 0;
    if constexpr (kCentered) {
        mean = lane_sum<T>(width, [=](std::int64_t i) { return x[i]; }) / count;
    }
    const T squares = lane_sum<T>(width, [=](std::int64_t i) {
        const T centered = x[i] - mean;
        return centered * centered;
    });
    return {mean, T(1) / std::sqrt(squares / count + static_cast<T>(eps))};
}

/// What is added to every weight, with which a norm scales its row.
template <class T>
[[nodiscard]] constexpr T weight_offset(bool adds_one) {
    return adds_one ? T(1) : T(0);
}

/// The two numbers that turn d_y into d_x: d_x_i = inverse * g_i - offset - (x_i - mean) * slope.
template <class T>
struct RowGradient {
    T offset = 0;
    T slope = 0;
};

template <bool kCentered, class T>
[[gnu::always_inline]] inline RowGradient<T> row_gradient(const T* d_y, const T* weight, const T* x,
                                                          const RowStatistics<T>& row,
                                                          std::int64_t width, T weight_offset) {
    const T mean = row.mean;
    const T inverse = row.inverse;
    const T count = static_cast<T>(width);
    const T product = lane_sum<T>(width, [=](std::int64_t i) {
        return d_y[i] * (weight[i] + weight_offset) * ((x[i] - mean) * inverse);
    });
    T offset = 0;
    if constexpr (kCentered) {
        const T total = lane_sum<T>(
            width, [=](std::int64_t i) { return d_y[i] * (weight[i] + weight_offset); });
        offset = inverse * total / count;
    }
    return {offset, inverse * inverse * product / count};
}

}  // namespace isoflop::ops
