// The inner kernels of the matrix product: one small tile of C, all of its sums in registers. Each
// instruction set has its own; gemm_tile.inl holds the text they share.
#pragma once

#include <cstdint>

#include "isoflop/device/instruction_set.hpp"

namespace isoflop::device {

/// C tile = alpha * A B + beta * C tile, over `depth` products per element. C is not read when beta
/// is 0.
///
/// Every element is one chain of multiply-adds in order of depth, for every tile, place and
/// packing, so neither the size of tiles nor the number of threads changes a bit of a result.
struct TileArguments {
    const float* a = nullptr;       ///< element (row, p) at a[row * a_row_stride + p * a_step]
    std::int64_t a_row_stride = 0;  ///< 1 and MicroKernel::rows in a packed panel
    std::int64_t a_step = 0;
    const float* b = nullptr;  ///< element (p, column) at b[p * b_step + column]
    std::int64_t b_step = 0;
    float* c = nullptr;
    std::int64_t ldc = 0;
    std::int64_t depth = 0;
    int columns = 0;
    float alpha = 1;
    float beta = 0;
};
using TileFunction = void (*)(const TileArguments&);

/// C (rows x columns) = alpha * A B^T + beta * C for a few rows, where packing B would cost more
/// than the product: both operands are read in place, along their rows.
struct DotArguments {
    const float* a = nullptr;
    std::int64_t lda = 0;
    const float* b = nullptr;
    std::int64_t ldb = 0;
    float* c = nullptr;
    std::int64_t ldc = 0;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::int64_t depth = 0;
    float alpha = 1;
    float beta = 0;
};

struct MicroKernel {
    int rows = 0;     ///< of the largest tile, and the width of packed panels of A
    int columns = 0;  ///< of the largest tile, and the width of packed panels of B
    /// Kernel of a tile of at most that size, whose operands are packed panels or lie in place.
    TileFunction (*tile)(int rows, int columns, bool packed_a, bool packed_b) = nullptr;
    void (*dots)(const DotArguments& arguments) = nullptr;
    /// Multiply-adds between registers, to measure the peak; returns a value that keeps them from
    /// being optimised away.
    float (*multiply_add_loop)(std::int64_t iterations) = nullptr;
    std::int64_t flops_per_iteration = 0;
};

extern const MicroKernel kGenericKernel;
#if defined(__x86_64__)
extern const MicroKernel kAvx2Kernel;
extern const MicroKernel kAvx512Kernel;
#endif

/// The kernels of the active instruction set.
[[nodiscard]] const MicroKernel& active_kernel();

}  // namespace isoflop::device
