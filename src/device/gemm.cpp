// Checks, the cases without products, and the choice of the implementation.
#include "isoflop/device/gemm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>

#include "device/gemm_double.hpp"
#include "device/gemm_libraries.hpp"
#include "device/gemm_packed.hpp"
#include "device/instruction_set.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::device {
namespace {

std::atomic<GemmLibrary> chosen_library{GemmLibrary::automatic};

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

/// `automatic` is our own product: it was the fastest at every shape of bench_gemm, on every CPU
/// tried. A measurement at start-up would choose better on some other CPU, and differently from run
/// to run.
bool is_own(GemmLibrary library) {
    return library == GemmLibrary::automatic || library == GemmLibrary::own;
}

/// Tiles of C depend on the shape alone: libraries sum tiles of different sizes in different
/// orders.
void multiply_with_library(Context& context, SerialGemm multiply, const GemmShape& shape,
                           float alpha, const float* a, const float* b, float beta, float* c) {
    constexpr std::int64_t kTileRows = 256;
    constexpr std::int64_t kTileColumns = 768;
    const std::int64_t tiles_down = (shape.m + kTileRows - 1) / kTileRows;
    const std::int64_t tiles_across = (shape.n + kTileColumns - 1) / kTileColumns;
    context.pool.parallel_for(tiles_down * tiles_across, [&](std::int64_t tile) {
        const std::int64_t row = tile % tiles_down * kTileRows;
        const std::int64_t column = tile / tiles_down * kTileColumns;
        GemmShape part = shape;
        part.m = std::min(kTileRows, shape.m - row);
        part.n = std::min(kTileColumns, shape.n - column);
        multiply(part, alpha, a + row * (shape.transpose_a == Transpose::no ? shape.lda : 1),
                 b + column * (shape.transpose_b == Transpose::no ? 1 : shape.ldb), beta,
                 c + row * shape.ldc + column);
    });
}

/// The libraries count in 32-bit integers.
bool fits_libraries(const GemmShape& shape) {
    return std::max({shape.m, shape.n, shape.k, shape.lda, shape.ldb, shape.ldc}) <=
           std::numeric_limits<std::int32_t>::max();
}

}  // namespace

void gemm(Context& context, const GemmShape& shape, float alpha, const float* a, const float* b,
          float beta, float* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    const GemmLibrary library = chosen_library.load(std::memory_order_relaxed);
    if (is_own(library) || !fits_libraries(shape)) {
        return multiply_own(&context.pool, shape, alpha, a, b, beta, c);
    }
    multiply_with_library(context, load_gemm_library(library).multiply, shape, alpha, a, b, beta,
                          c);
}

void gemm(Context& context, const GemmShape& shape, double alpha, const double* a, const double* b,
          double beta, double* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    constexpr std::int64_t kRowsPerPiece = 16;
    context.pool.parallel_ranges(shape.m, kRowsPerPiece, [&](std::int64_t begin, std::int64_t end) {
        multiply_rows_double(shape, alpha, a, b, beta, c, begin, end);
    });
}

void gemm_serial(const GemmShape& shape, float alpha, const float* a, const float* b, float beta,
                 float* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    const GemmLibrary library = chosen_library.load(std::memory_order_relaxed);
    if (is_own(library) || !fits_libraries(shape))
        return multiply_own(nullptr, shape, alpha, a, b, beta, c);
    load_gemm_library(library).multiply(shape, alpha, a, b, beta, c);
}

void gemm_serial(const GemmShape& shape, double alpha, const double* a, const double* b,
                 double beta, double* c) {
    if (done_without_products(shape, alpha, beta, c)) return;
    multiply_rows_double(shape, alpha, a, b, beta, c, 0, shape.m);
}

std::vector<GemmLibrary> available_gemm_libraries() {
    std::vector<GemmLibrary> available{GemmLibrary::own};
    for (const GemmLibrary library : {GemmLibrary::openblas, GemmLibrary::onednn}) {
        if (load_gemm_library(library).multiply != nullptr) available.push_back(library);
    }
    return available;
}

std::string describe(GemmLibrary library) {
    if (is_own(library)) return fmt::format("own ({})", name(active_instruction_set()));
    return load_gemm_library(library).description;
}

void set_gemm_library(GemmLibrary library) {
    if (!is_own(library) && load_gemm_library(library).multiply == nullptr) {
        throw ConfigError(
            fmt::format("matrix products: {}", load_gemm_library(library).description));
    }
    chosen_library.store(library, std::memory_order_relaxed);
}

}  // namespace isoflop::device
