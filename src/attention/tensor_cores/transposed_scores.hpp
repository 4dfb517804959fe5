// Backward with keys as rows, S^T = K Q^T: the walk over the queries that see a block of keys,
// their lse and row sums in shared memory, probabilities from scores, and their gradients.
#pragma once

#include "attention/tensor_cores/fragments.hpp"
#include "attention/tensor_cores/heads.hpp"

namespace isoflop::attention::tensor_cores {

/// What a launch computes: where registers do not hold all, there are several.
enum class KeyGradients { both, of_keys, of_values, both_and_queries, of_keys_and_queries };

/// Walks over the query tiles of the heads of a group.
struct QuerySteps {
    int head = 0;
    int tile = 0;
    int first_tile = 0;
    int tiles = 0;
    int end_head = 0;

    SIMT_DEVICE bool more() const { return head < end_head; }
    SIMT_DEVICE void next() {
        if (++tile < tiles) return;
        tile = first_tile;
        ++head;
    }
};

/// What one thread brings of lse, in units of log2, and row sums: those of one query. Queries past
/// the end have lse = +inf, which makes their probabilities 0.
struct QueryStatistics {
    float lse = kInfinity;
    float sum = 0.0F;
};

template <class C>
SIMT_DEVICE QueryStatistics load_statistics(const BackwardParameters<typename C::Element>& p,
                                            int batch, const QuerySteps& at) {
    QueryStatistics result;
    const int query = at.tile * C::query_tile + simt::thread_index().x;
    if (simt::thread_index().x >= C::query_tile || query >= p.problem.query_length) return result;
    const std::int64_t row = first_row(p.problem, batch, at.head) + query;
    result.lse = simt::load(p.lse + row) * kLog2E;
    result.sum = simt::load(p.row_sums + row);
    return result;
}

template <class C>
SIMT_DEVICE void store_statistics(const Shared<float>& stage, const QueryStatistics& statistics) {
    const int query = simt::thread_index().x;
    if (query >= C::query_tile) return;
    simt::store(stage + query, statistics.lse);
    simt::store(stage + (C::query_tile + query), statistics.sum);
}

/// Probabilities with keys as rows become 0 where a query must not see a key.
template <class Steps, int m, int n>
SIMT_DEVICE void mask_transposed(Accumulator<m, n>& probabilities, const Problem& problem,
                                 int first_key, int first_query) {
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        SIMT_UNROLL
        for (int side = 0; side < 2; ++side) {
            const int query = first_query + 8 * c + column_in_piece(side);
            const int limit = key_limit<Steps>(problem, query) - first_key;
            SIMT_UNROLL
            for (int r = 0; r < m; ++r) {
                SIMT_UNROLL
                for (int i = side; i < 4; i += 2) {
                    if (16 * r + row_in_piece(i) >= limit) probabilities.at[r][c][i] = 0.0F;
                }
            }
        }
    }
    if (problem.window == 0) return;
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        SIMT_UNROLL
        for (int side = 0; side < 2; ++side) {
            const int query = simt::opaque(first_query) + 8 * c + column_in_piece(side);
            const int start = key_start(problem, query) - simt::opaque(first_key);
            SIMT_UNROLL
            for (int r = 0; r < m; ++r) {
                SIMT_UNROLL
                for (int i = side; i < 4; i += 2) {
                    if (16 * r + row_in_piece(i) < start) probabilities.at[r][c][i] = 0.0F;
                }
            }
        }
    }
}

/// Scores with keys as rows become probabilities. The mask comes last, as zeros that stand for keys
/// past the end could overflow, and as a branch, as few tiles need it.
template <class Steps, int m, int n>
SIMT_DEVICE void recompute_transposed(Accumulator<m, n>& scores, const Shared<float>& lse,
                                      const Problem& problem, int first_key, int first_query,
                                      bool masked) {
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        SIMT_UNROLL
        for (int side = 0; side < 2; ++side) {
            const float column_lse = simt::load(lse + (8 * c + column_in_piece(side)));
            SIMT_UNROLL
            for (int r = 0; r < m; ++r) {
                SIMT_UNROLL
                for (int i = side; i < 4; i += 2) {
                    float& score = scores.at[r][c][i];
                    score =
                        simt::exp2_approximate(fmaf(score, problem.scale * kLog2E, -column_lse));
                }
            }
        }
    }
    if (masked) mask_transposed<Steps>(scores, problem, first_key, first_query);
}

/// P^T becomes dS^T.
template <int m, int n>
SIMT_DEVICE void score_gradients(Accumulator<m, n>& probabilities, const Accumulator<m, n>& d_p,
                                 const Shared<float>& sums) {
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        SIMT_UNROLL
        for (int side = 0; side < 2; ++side) {
            const float sum = simt::load(sums + (8 * c + column_in_piece(side)));
            SIMT_UNROLL
            for (int r = 0; r < m; ++r) {
                SIMT_UNROLL
                for (int i = side; i < 4; i += 2) {
                    probabilities.at[r][c][i] *= d_p.at[r][c][i] - sum;
                }
            }
        }
    }
}

/// Sums of a block, and what it takes to add the products of one query tile.
template <class C>
struct KeyGradientSums {
    typename C::Output d_k;
    typename C::Output d_v;

    SIMT_DEVICE void clear() {
        if constexpr (C::of_keys) d_k.clear();
        if constexpr (C::of_values) d_v.clear();
    }

    template <class T>
    SIMT_DEVICE void add(const Problem& problem, const Shared<T>& keys, const Shared<T>& values,
                         const Shared<T>& queries, const Shared<T>& gradients,
                         const Shared<float>& statistics, const Shared<T>& score_tile, int warp_row,
                         int warp_key, int first_query, bool masked) {
        using S = typename C::Steps;
        using QueryTile = typename C::QueryTile;
        using KeyTile = typename C::KeyTile;
        typename C::Scores scores;
        scores.clear();
        multiply_tiles<KeyTile, QueryTile, S, C::score_unroll>(
            scores, keys + warp_row * C::head_dim, queries);
        recompute_transposed<S>(scores, statistics, problem, warp_key, first_query, masked);
        if constexpr (C::of_values) multiply_values<QueryTile, S>(d_v, scores, gradients);
        if constexpr (C::of_keys) {
            typename C::Scores d_p;
            d_p.clear();
            multiply_tiles<KeyTile, QueryTile, S, C::d_p_unroll>(
                d_p, values + warp_row * C::head_dim, gradients);
            score_gradients(scores, d_p, statistics + C::query_tile);
            if constexpr (C::of_queries) {
                put_into_tile<typename C::ScoreTile>(score_tile, warp_row, scores);
            }
            multiply_values<QueryTile, S>(d_k, scores, queries);
        }
    }

    /// By way of shared memory, so that whole chunks are stored.
    template <class T>
    SIMT_DEVICE void write(const BackwardParameters<T>& p, const KeyBlock& block,
                           const Shared<T>& keys, const Shared<T>& values, int warp_row) {
        using KeyTile = typename C::KeyTile;
        if constexpr (C::of_queries) {
            simt::sync_threads();  // all warps have read all keys
        } else {
            simt::sync_warp();  // only this warp reads its keys and values
        }
        if constexpr (C::of_keys) {
            d_k.multiply_by(p.problem.scale);
            put_into_tile<KeyTile>(keys, warp_row, d_k);
        }
        if constexpr (C::of_values) put_into_tile<KeyTile>(values, warp_row, d_v);
        simt::sync_warp();
        if constexpr (C::of_keys) {
            store_rows<KeyTile, C::warp_rows>(head_rows(p.d_k, block.batch, block.kv_head), keys,
                                              warp_row, block.first_key, p.problem.key_length);
        }
        if constexpr (C::of_values) {
            store_rows<KeyTile, C::warp_rows>(head_rows(p.d_v, block.batch, block.kv_head), values,
                                              warp_row, block.first_key, p.problem.key_length);
        }
    }
};

}  // namespace isoflop::attention::tensor_cores
