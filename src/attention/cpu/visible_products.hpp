// Products over exactly the visible pairs of a tile, one element at a time. The vector kernels
// multiply masked pairs by a probability of zero, which is right unless the other factor is Inf or
// NaN (0 x Inf is NaN): then these run instead.
#pragma once

#include <cstdint>

#include "attention/cpu/tile_kernels.hpp"

namespace isoflop::attention {

/// Keys [starts, limits) of a tile that its queries see, one of each for a query.
template <class T>
struct VisibleKeys {
    const T* starts = nullptr;
    const T* limits = nullptr;

    [[nodiscard]] bool contain(std::int64_t key, std::int64_t query) const {
        const T position = static_cast<T>(key);
        return position >= starts[query] && position < limits[query];
    }
};

/// out[column][query] += sum over the keys that the query sees of tile[key][query] *
/// rows[key][column]. Returns the multiply-adds.
template <class T>
std::uint64_t add_visible_keys(std::int64_t keys, std::int64_t queries, std::int64_t columns,
                               const VisibleKeys<T>& visible, const T* tile, const T* rows,
                               std::int64_t rows_stride, T* out) {
    std::uint64_t multiply_adds = 0;
    for (std::int64_t column = 0; column < columns; ++column) {
        for (std::int64_t query = 0; query < queries; ++query) {
            T& sum = out[column * kQueryTile + query];
            for (std::int64_t key = 0; key < keys; ++key) {
                if (!visible.contain(key, query)) continue;
                sum += tile[key * kQueryTile + query] * rows[key * rows_stride + column];
                ++multiply_adds;
            }
        }
    }
    return multiply_adds;
}

/// out[key][column] += sum over the queries that see the key of tile[key][query] *
/// rows[query][column]. Returns the multiply-adds.
template <class T>
std::uint64_t add_visible_queries(std::int64_t keys, std::int64_t queries, std::int64_t columns,
                                  const VisibleKeys<T>& visible, const T* tile, const T* rows,
                                  std::int64_t rows_stride, T* out, std::int64_t out_stride) {
    std::uint64_t multiply_adds = 0;
    for (std::int64_t key = 0; key < keys; ++key) {
        for (std::int64_t query = 0; query < queries; ++query) {
            if (!visible.contain(key, query)) continue;
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
