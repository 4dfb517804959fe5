// Matrix product on the CPU: C = alpha * op(A) op(B) + beta * C, row-major.
//
// Work is split into tiles of C by shape alone and each tile is computed by one thread, so results
// do not depend on the number of threads. The kernel is chosen per shape: our packed AVX-512 / AVX2
// kernel, OpenBLAS or oneDNN where they are present and faster; `set_gemm_choice` fixes one,
// `reproducible` uses a fixed table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/enum_names.hpp"
#include "isoflop/device/context.hpp"

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

void gemm(Context& context, const GemmShape& shape, float alpha, const float* a, const float* b,
          float beta, float* c);
/// Double precision for tests: correct, not fast.
void gemm(Context& context, const GemmShape& shape, double alpha, const double* a, const double* b,
          double beta, double* c);

/// The same product in the calling thread only, for use inside parallel code (attention tiles).
void gemm_serial(const GemmShape& shape, float alpha, const float* a, const float* b, float beta,
                 float* c);
void gemm_serial(const GemmShape& shape, double alpha, const double* a, const double* b,
                 double beta, double* c);

enum class GemmLibrary { automatic, own, openblas, onednn };

/// Libraries this build has, `own` always among them.
[[nodiscard]] std::vector<GemmLibrary> available_gemm_libraries();
/// Name and version for --version and --doctor: "own (avx512)", "OpenBLAS 0.3.21".
[[nodiscard]] std::string describe(GemmLibrary library);
/// Process-wide choice, to be made before the first product; `automatic` is the default.
void set_gemm_library(GemmLibrary library);

}  // namespace isoflop::device

namespace isoflop {
template <>
inline constexpr auto enum_names<device::GemmLibrary> =
    std::to_array<EnumName<device::GemmLibrary>>({{device::GemmLibrary::automatic, "auto"},
                                                  {device::GemmLibrary::own, "own"},
                                                  {device::GemmLibrary::openblas, "openblas"},
                                                  {device::GemmLibrary::onednn, "onednn"}});
}  // namespace isoflop
