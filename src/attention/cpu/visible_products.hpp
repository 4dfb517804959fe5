// Products over exactly the visible pairs of a tile, one element at a time. The vector kernels
// multiply masked pairs by a probability of zero, which is right unless the other factor is Inf or
// NaN (0 x Inf is NaN): then these run instead.
#pragma once

#include <cstdint>

#include "attention/cpu/tile_kernels.hpp"

namespace isoflop::attention {

/// out[column][query] += sum over keys < limits[query] of tile[key][query] * rows[key][column].
/// Returns the multiply-adds.
template <class T>
std::uint64_t add_visible_keys(std::int64_t keys, std::int64_t queries, std::int64_t columns,
                               const T* limits, const T* tile, const T* rows,
                               std::int64_t rows_stride, T* out) {
    std::uint64_t multiply_adds = 0;
    for (std::int64_t column = 0; column < columns; ++column) {
        for (std::int64_t query = 0; query < queries; ++query) {
            T& sum = out[column * kQueryTile + query];
            for (std::int64_t key = 0; key < keys && static_cast<T>(key) < limits[query]; ++key) {
                sum += tile[key * kQueryTile + query] * rows[key * rows_stride + column];
                ++multiply_adds;
            }
        }
    }
    return multiply_adds;
}

/// out[key][column] += sum over queries with key < limits[query] of tile[key][query] *
/// rows[query][column]. Returns the multiply-adds.
template <class T>
std::uint64_t add_visible_queries(std::int64_t keys, std::int64_t queries, std::int64_t columns,
                                  const T* limits, const T* tile, const T* rows,
                                  std::int64_t rows_stride, T* out, std::int64_t out_stride) {
    std::uint64_t multiply_adds = 0;
    for (std::int64_t key = 0; key < keys; ++key) {
        for (std::int64_t query = 0; query < queries; ++query) {
            if (!(static_cast<T>(key) < limits[query])) continue;
            const T factor = tile[key * kQueryTile + query];
            for (std::int64_t column = 0; column < columns; ++column) {
                out[key * out_stride + column] += factor * rows[query * rows_stride + column];
                ++multiply_adds;
            }
        }
    }
    return multiply_adds;
}

}  // namespace isoflop::attention
