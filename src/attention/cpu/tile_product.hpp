// The register-blocked product and the transpositions of the tile kernels. See tile_vector.hpp for
// how it is included.
#pragma once

#include "attention/cpu/tile_kernels.hpp"
#include "attention/cpu/tile_vector.hpp"

namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE {

inline constexpr int kRowsPerBlock = 6;
inline constexpr int kVectorsPerBlock = ISOFLOP_TILE_VECTORS;

/// kRows x kVectors sums in registers over the whole depth. `kUnitRows`: row_stride is 1.
template <class T, int kRows, int kVectors, bool kUnitRows>
ISOFLOP_TILE_FUNCTION void product_block(const TileProduct<T>& product, std::int64_t row,
                                         std::int64_t lane) {
    const std::int64_t row_stride = kUnitRows ? 1 : product.row_stride;
    const std::int64_t depth_stride = kUnitRows ? product.depth_stride : 1;
    const T* a = product.a + row * row_stride;
    const T* b = product.b + lane;
    T* c = product.c + row * product.c_stride + lane;
    Vector<T> sums[kRows][kVectors];
    ISOFLOP_TILE_UNROLL
    for (int r = 0; r < kRows; ++r) {
        ISOFLOP_TILE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            sums[r][v] =
                product.accumulate ? load(c + r * product.c_stride + v * kLanes<T>) : Vector<T>{};
        }
    }
    for (std::int64_t k = 0; k < product.depth; ++k) {
        Vector<T> right[kVectors];
        ISOFLOP_TILE_UNROLL
        for (int v = 0; v < kVectors; ++v) right[v] = load(b + v * kLanes<T>);
        ISOFLOP_TILE_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const Vector<T> left = broadcast<T>(a[r * row_stride]);
            ISOFLOP_TILE_UNROLL
            for (int v = 0; v < kVectors; ++v) sums[r][v] += left * right[v];
        }
        a += depth_stride;
        b += product.b_stride;
    }
    ISOFLOP_TILE_UNROLL
    for (int r = 0; r < kRows; ++r) {
        ISOFLOP_TILE_UNROLL
        for (int v = 0; v < kVectors; ++v)
            store(c + r * product.c_stride + v * kLanes<T>, sums[r][v]);
    }
}

template <class T, int kRows, int kVectors, bool kUnitRows>
ISOFLOP_TILE_FUNCTION void product_last_rows(const TileProduct<T>& product, std::int64_t row,
                                             std::int64_t lane) {
    if constexpr (kRows > 0) {
        if (product.rows - row == kRows) {
            product_block<T, kRows, kVectors, kUnitRows>(product, row, lane);
        } else {
            product_last_rows<T, kRows - 1, kVectors, kUnitRows>(product, row, lane);
        }
    }
}

template <class T, int kVectors, bool kUnitRows>
ISOFLOP_TILE_FUNCTION void product_column(const TileProduct<T>& product, std::int64_t lane) {
    std::int64_t row = 0;
    for (; row + kRowsPerBlock <= product.rows; row += kRowsPerBlock) {
        product_block<T, kRowsPerBlock, kVectors, kUnitRows>(product, row, lane);
    }
    product_last_rows<T, kRowsPerBlock - 1, kVectors, kUnitRows>(product, row, lane);
}

template <class T, int kVectors, bool kUnitRows>
ISOFLOP_TILE_FUNCTION void product_lanes(const TileProduct<T>& product, std::int64_t lane) {
    constexpr std::int64_t kWidth = kVectors * kLanes<T>;
    for (; lane + kWidth <= product.lanes; lane += kWidth) {
        product_column<T, kVectors, kUnitRows>(product, lane);
    }
    if constexpr (kVectors > 1) {
        if (lane < product.lanes) product_lanes<T, kVectors - 1, kUnitRows>(product, lane);
    }
}

/// One of the strides of `a` is 1.
template <class T>
ISOFLOP_TILE_FUNCTION void product(const TileProduct<T>& product) {
    if (product.depth_stride == 1) {
        product_lanes<T, kVectorsPerBlock, false>(product, 0);
    } else {
        product_lanes<T, kVectorsPerBlock, true>(product, 0);
    }
}

/// kAdd: target += source^T, else target = factor * source^T.
template <class T, bool kAdd>
ISOFLOP_TILE_FUNCTION void transpose_any(std::int64_t rows, std::int64_t columns, const T* source,
                                         std::int64_t source_stride, T factor, T* target,
                                         std::int64_t target_stride) {
    constexpr std::int64_t kCount = kLanes<T>;
    const std::int64_t square_rows = rows - rows % kCount;
    const std::int64_t square_columns = columns - columns % kCount;
    for (std::int64_t row = 0; row < square_rows; row += kCount) {
        for (std::int64_t column = 0; column < square_columns; column += kCount) {
            Vector<T> square[kCount];
            ISOFLOP_TILE_UNROLL
            for (int i = 0; i < kCount; ++i)
                square[i] = load(source + (row + i) * source_stride + column);
            transpose_square<T>(square);
            T* out = target + column * target_stride + row;
            ISOFLOP_TILE_UNROLL
            for (int i = 0; i < kCount; ++i) {
                T* to = out + i * target_stride;
                store(to, kAdd ? load(to) + square[i] : factor * square[i]);
            }
        }
    }
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t column = row < square_rows ? square_columns : 0; column < columns;
             ++column) {
            T& to = target[column * target_stride + row];
            const T value = source[row * source_stride + column];
            to = kAdd ? to + value : factor * value;
        }
    }
}

template <class T>
ISOFLOP_TILE_FUNCTION void transpose(std::int64_t rows, std::int64_t columns, const T* source,
                                     std::int64_t source_stride, T factor, T* target,
                                     std::int64_t target_stride) {
    transpose_any<T, false>(rows, columns, source, source_stride, factor, target, target_stride);
}

template <class T>
ISOFLOP_TILE_FUNCTION void transpose_add(std::int64_t rows, std::int64_t columns, const T* source,
                                         std::int64_t source_stride, T* target,
                                         std::int64_t target_stride) {
    transpose_any<T, true>(rows, columns, source, source_stride, T(1), target, target_stride);
}

}  // namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE
