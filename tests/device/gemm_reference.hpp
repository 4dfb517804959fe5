// A product in double precision by the definition, and matrices to try it on.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "isoflop/device/gemm.hpp"

namespace isoflop::device::testing {

/// Values in [-0.5, 0.5), the same for a seed everywhere.
template <class T>
std::vector<T> random_values(std::int64_t count, std::uint32_t seed) {
    std::vector<T> values(static_cast<std::size_t>(count));
    std::uint32_t state = seed * 2654435761U + 1U;
    for (T& value : values) {
        state = state * 1664525U + 1013904223U;
        value = static_cast<T>(static_cast<double>(state >> 8U) * 0x1p-24 - 0.5);
    }
    return values;
}

/// Operands of one product; rows of each matrix are `padding` elements longer than needed.
template <class T>
struct Operands {
    GemmShape shape;
    std::vector<T> a;
    std::vector<T> b;
    std::vector<T> c;

    Operands(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
             std::int64_t k, std::int64_t padding = 0) {
        const bool a_transposed = transpose_a == Transpose::yes;
        const bool b_transposed = transpose_b == Transpose::yes;
        shape = {.transpose_a = transpose_a,
                 .transpose_b = transpose_b,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = (a_transposed ? m : k) + padding,
                 .ldb = (b_transposed ? k : n) + padding,
                 .ldc = n + padding};
        a = random_values<T>((a_transposed ? k : m) * shape.lda, 1);
        b = random_values<T>((b_transposed ? n : k) * shape.ldb, 2);
        c = random_values<T>(m * shape.ldc, 3);
    }
};

/// C of the definition, in double. With `magnitudes`, of the absolute values: the scale of rounding
/// errors.
template <class T>
std::vector<double> reference(const Operands<T>& operands, double alpha, double beta,
                              bool magnitudes = false) {
    const GemmShape& shape = operands.shape;
    const auto value = [&](double x) { return magnitudes ? std::abs(x) : x; };
    std::vector<double> c(operands.c.size());
    for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<double>(operands.c[i]);
    for (std::int64_t i = 0; i < shape.m; ++i) {
        for (std::int64_t j = 0; j < shape.n; ++j) {
            double sum = 0;
            for (std::int64_t p = 0; p < shape.k; ++p) {
                const std::int64_t at_a =
                    shape.transpose_a == Transpose::yes ? p * shape.lda + i : i * shape.lda + p;
                const std::int64_t at_b =
                    shape.transpose_b == Transpose::yes ? j * shape.ldb + p : p * shape.ldb + j;
                sum += value(static_cast<double>(operands.a[static_cast<std::size_t>(at_a)]) *
                             static_cast<double>(operands.b[static_cast<std::size_t>(at_b)]));
            }
            double& element = c[static_cast<std::size_t>(i * shape.ldc + j)];
            element = value(alpha) * sum + (beta == 0 ? 0.0 : value(beta * element));
        }
    }
    return c;
}

}  // namespace isoflop::device::testing
