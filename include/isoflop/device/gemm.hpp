// Matrix product on the CPU: C = alpha * op(A) op(B) + beta * C, row-major.
//
// Work is split into tiles of C by shape alone and each tile is computed by one thread, so results
// do not depend on the number of threads. The kernels are our own, for AVX-512, AVX2 and any CPU.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/device/thread_pool.hpp"

namespace isoflop::device {

enum class Transpose { no, yes };

/// op(A) is m x k, op(B) is k x n, C is m x n. Leading dimensions are row strides in elements.
struct GemmShape {
    Transpose transpose_a = Transpose::no;
    Transpose transpose_b = Transpose::no;
    std::int64_t m = 0;
    std::int64_t n = 0;
    std::int64_t k = 0;
    std::int64_t lda = 0;
    std::int64_t ldb = 0;
    std::int64_t ldc = 0;
};

void gemm(ThreadPool& pool, const GemmShape& shape, float alpha, const float* a, const float* b,
          float beta, float* c);
/// Double precision for tests: correct, not fast.
void gemm(ThreadPool& pool, const GemmShape& shape, double alpha, const double* a, const double* b,
          double beta, double* c);

/// The same product in the calling thread only, for use inside parallel code (attention tiles).
void gemm_serial(const GemmShape& shape, float alpha, const float* a, const float* b, float beta,
                 float* c);
void gemm_serial(const GemmShape& shape, double alpha, const double* a, const double* b,
                 double beta, double* c);

/// For --version and --doctor: "own (avx512)".
[[nodiscard]] std::string describe_gemm();

}  // namespace isoflop::device
