// Checks, and the cases without products.
#include "isoflop/device/gemm.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "device/gemm_double.hpp"
#include "device/gemm_packed.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::device {
namespace {

void check(const GemmShape& shape) {
    const bool a_transposed = shape.transpose_a == Transpose::yes;
    const bool b_transposed = shape.transpose_b == Transpose::yes;
    const bool valid = shape.m >= 0 && shape.n >= 0 && shape.k >= 0 &&
                       shape.lda >= (a_transposed ? shape.m : shape.k) &&
                       shape.ldb >= (b_transposed ? shape.k : shape.n) && shape.ldc >= shape.n;
    if (!valid) {
        throw std::logic_error(
            fmt::format("gemm: {} x {} x {} does not go with row strides {}, {}, {}", shape.m,
                        shape.n, shape.k, shape.lda, shape.ldb, shape.ldc));
    }
}

/// True when there was nothing to multiply: C = beta * C is done then, without reading C when beta
/// is 0.
template <class T>
bool done_without_products(const GemmShape& shape, T alpha, T beta, T* c) {
    check(shape);
    if (shape.m == 0 || shape.n == 0) return true;
    if (shape.k > 0 && alpha != 0) return false;
    for (std::int64_t i = 0; i < shape.m; ++i) {
        T* row = c + i * shape.ldc;
        for (std::int64_t j = 0; j < shape.n; ++j) row[j] = beta == 0 ? T(0) : beta * row[j];
    }
    return true;
}

}  // namespace

void gemm(ThreadPool& pool, const GemmShape& shape, float alpha, const float* a, const float* b,
          float beta, float* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    multiply_own(&pool, shape, alpha, a, b, beta, c);
}

void gemm(ThreadPool& pool, const GemmShape& shape, double alpha, const double* a, const double* b,
          double beta, double* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    constexpr std::int64_t kRowsPerPiece = 16;
    pool.parallel_ranges(shape.m, kRowsPerPiece, [&](std::int64_t begin, std::int64_t end) {
        multiply_rows_double(shape, alpha, a, b, beta, c, begin, end);
    });
}

void gemm_serial(const GemmShape& shape, float alpha, const float* a, const float* b, float beta,
                 float* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    multiply_own(nullptr, shape, alpha, a, b, beta, c);
}

void gemm_serial(const GemmShape& shape, double alpha, const double* a, const double* b,
                 double beta, double* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    multiply_rows_double(shape, alpha, a, b, beta, c, 0, shape.m);
}

std::string describe_gemm() {
    return fmt::format("own ({})", name(active_instruction_set()));
}

}  // namespace isoflop::device
