#include "device/gemm_double.hpp"

#include <array>
#include <vector>

namespace isoflop::device {
namespace {

/// One row of A with rows of B, four at a time: four sums in flight.
void dot_with_rows(const GemmShape& shape, const double* a_row, const double* b, double* sums) {
    constexpr std::int64_t kTogether = 4;
    std::int64_t j = 0;
    for (; j + kTogether <= shape.n; j += kTogether) {
        std::array<double, kTogether> sum{};
        const double* from = b + j * shape.ldb;
        for (std::int64_t p = 0; p < shape.k; ++p) {
            for (std::size_t i = 0; i < sum.size(); ++i) {
                sum[i] += a_row[p] * from[static_cast<std::int64_t>(i) * shape.ldb + p];
            }
        }
        for (std::size_t i = 0; i < sum.size(); ++i)
            sums[j + static_cast<std::int64_t>(i)] = sum[i];
    }
    for (; j < shape.n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < shape.k; ++p) sum += a_row[p] * b[j * shape.ldb + p];
        sums[j] = sum;
    }
}

void add_multiples_of_rows(const GemmShape& shape, const double* a_row, const double* b,
                           double* sums) {
    for (std::int64_t j = 0; j < shape.n; ++j) sums[j] = 0;
    for (std::int64_t p = 0; p < shape.k; ++p) {
        const double* from = b + p * shape.ldb;
        for (std::int64_t j = 0; j < shape.n; ++j) sums[j] += a_row[p] * from[j];
    }
}

}  // namespace

void multiply_rows_double(const GemmShape& shape, double alpha, const double* a, const double* b,
                          double beta, double* c, std::int64_t begin, std::int64_t end) {
    std::vector<double> a_row(static_cast<std::size_t>(shape.k));
    std::vector<double> sums(static_cast<std::size_t>(shape.n));
    for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t p = 0; p < shape.k; ++p) {
            a_row[static_cast<std::size_t>(p)] =
                shape.transpose_a == Transpose::no ? a[i * shape.lda + p] : a[p * shape.lda + i];
        }
        if (shape.transpose_b == Transpose::yes) {
            dot_with_rows(shape, a_row.data(), b, sums.data());
        } else {
            add_multiples_of_rows(shape, a_row.data(), b, sums.data());
        }
        double* out = c + i * shape.ldc;
        for (std::int64_t j = 0; j < shape.n; ++j) {
            const double product = alpha * sums[static_cast<std::size_t>(j)];
            out[j] = beta == 0 ? product : product + beta * out[j];
        }
    }
}

}  // namespace isoflop::device
