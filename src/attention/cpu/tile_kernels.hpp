// The inner loops of fused attention, one table per element type and instruction set.
//
// A tile of scores is stored with the queries as vector lanes: tile[key][query], kQueryTile queries
// wide. Then
//   S^T = K Q^T,  O^T = V^T P^T,  dP^T = V dO^T,  dQ^T = K^T dS^T,  dV = P^T dO,  dK = dS^T Q
// all have the form c[row][lane] += sum_k a(row, k) b[k][lane], with `a` read one element at a time
// from the caller's own rows: keys and values are never packed or transposed, and maxima, sums and
// exponentials of the online softmax run along lanes without horizontal steps. Only queries,
// outputs and their gradients are transposed, once per tile.
#pragma once

#include <cstdint>

#include "isoflop/cost/attention_pairs.hpp"

namespace isoflop::attention {

inline constexpr std::int64_t kQueryTile = cost::kAttentionQueryTile;
/// Keys of one tile of scores. Any size visits the same pairs; this one keeps a tile in the
/// first-level cache.
inline constexpr std::int64_t kKeyTile = cost::kAttentionKeyTile;

/// c[row][lane] (+)= sum_k a[row * row_stride + k * depth_stride] * b[k * b_stride + lane]
template <class T>
struct TileProduct {
    std::int64_t rows = 0;
    std::int64_t lanes = 0;  ///< multiple of TileKernels::lanes
    std::int64_t depth = 0;
    const T* a = nullptr;
    std::int64_t row_stride = 0;
    std::int64_t depth_stride = 0;
    const T* b = nullptr;
    std::int64_t b_stride = 0;
    T* c = nullptr;
    std::int64_t c_stride = 0;
    bool accumulate = false;
};

template <class T>
struct TileKernels {
    /// Elements of one vector; tiles are padded to multiples of it.
    std::int64_t lanes;

    void (*product)(const TileProduct<T>& product);

    /// target[column * target_stride + row] = factor * source[row * source_stride + column]
    void (*transpose)(std::int64_t rows, std::int64_t columns, const T* source,
                      std::int64_t source_stride, T factor, T* target, std::int64_t target_stride);
    /// The same, added to the target, with factor 1.
    void (*transpose_add)(std::int64_t rows, std::int64_t columns, const T* source,
                          std::int64_t source_stride, T* target, std::int64_t target_stride);

    /// tile[row][lane] *= factors[lane]
    void (*scale_lanes)(std::int64_t rows, std::int64_t lanes, const T* factors, T* tile);

    /// tile[key][lane] = -infinity where key >= limits[lane], for key in [first, last).
    void (*mask_keys)(std::int64_t first, std::int64_t last, std::int64_t lanes, const T* limits,
                      T* tile);

    /// tile[key][lane] = value where key < starts[lane], for key in [0, last).
    void (*fill_before)(std::int64_t last, std::int64_t lanes, const T* starts, T value, T* tile);

    /// One step of the online softmax (Dao 2023, algorithm 1, lines 8 to 10) over base-2 scores.
    /// The tile becomes 2^(score - new maximum); maxima and sums are updated; rescale[lane] =
    /// 2^(old maximum - new maximum). Returns whether any rescale differs from 1.
    bool (*online_softmax)(std::int64_t keys, std::int64_t lanes, T* tile, T* maxima, T* sums,
                           T* rescale);

    /// Base-2 scores and d_probabilities (both [key][lane]) become probabilities and d_scores:
    ///   P = 2^(score - lse2),  dS = P (dP - row_sum); both exactly 0 where key >= limits[lane].
    /// `limits` may be null: all visible.
    void (*backward_probabilities)(std::int64_t keys, std::int64_t lanes, const T* limits,
                                   const T* lse2, const T* row_sums, T* scores, T* d_probabilities);

    /// Softmax in place over n base-2 scores; returns log2 of the sum of their powers of two.
    T (*softmax_row)(std::int64_t n, T* row);
    /// d_row[j] = factor * p[j] * (d_row[j] - sum_i p[i] d_row[i])
    void (*softmax_row_backward)(std::int64_t n, T factor, const T* p, T* d_row);

    T (*dot)(std::int64_t n, const T* a, const T* b);
    /// Whether rows x columns elements are all finite.
    bool (*all_finite)(std::int64_t rows, std::int64_t columns, const T* data, std::int64_t stride);
};

/// Kernels of the active instruction set.
template <class T>
[[nodiscard]] const TileKernels<T>& tile_kernels();

}  // namespace isoflop::attention
