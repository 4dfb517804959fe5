// Gradient of the queries: as in forward a block owns some queries of one head and goes through the
// keys that they see, with probabilities recomputed from lse:
//   P = exp2(S scale log2(e) - lse log2(e)),  dS = P (dO V^T - rowsum(dO O)),  dQ = scale dS K
// A pass of its own computes S and dO V^T a second time, which key_gradients_kernel.hpp needs too;
// for that nothing is added atomically and d_q has the same bits in every run.
//
// Two stages of keys and values: one is copied while the other is worked on.
#pragma once

#include "attention/tensor_cores/softmax.hpp"

namespace isoflop::attention::flash_attn_2 {

using namespace tensor_cores;

template <class T, int head_dim_, int query_tile_, int key_tile_, int warps_,
          class Steps_ = tensor_cores::Steps>
struct QueryGradientConfig {
    using Element = T;
    using Steps = Steps_;
    static constexpr int head_dim = head_dim_;
    static constexpr int query_tile = query_tile_;
    static constexpr int key_tile = key_tile_;
    static constexpr int warps = warps_;
    static constexpr int threads = warps * simt::warp_lanes;
    static constexpr int warp_rows = query_tile / warps;
    using QueryTile = Tile<T, query_tile, head_dim>;
    using KeyTile = Tile<T, key_tile, head_dim>;
    static constexpr int stage_bytes = 2 * KeyTile::bytes;
    static constexpr int shared_bytes = 2 * QueryTile::bytes + 2 * stage_bytes;
    using Scores = Accumulator<warp_rows / 16, key_tile / 8>;
    using Output = Accumulator<warp_rows / 16, head_dim / 8>;
    static_assert(warp_rows % 16 == 0 && key_tile % 16 == 0 && head_dim % 32 == 0);
};

/// lse in units of log2 and rowsum(dO O) of the rows that a lane shares. Rows past the end have
/// lse = +inf, which makes their probabilities 0.
template <int row_tiles>
struct RowStatistics {
    float lse[row_tiles][2];
    float sum[row_tiles][2];

    SIMT_DEVICE void load(const Global<const float>& head_lse, const Global<const float>& head_sums,
                          int first_query, int query_length) {
        SIMT_UNROLL
        for (int r = 0; r < row_tiles; ++r) {
            SIMT_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int query = first_query + 16 * r + row_in_piece(2 * half);
                const bool exists = query < query_length;
                lse[r][half] = exists ? simt::load(head_lse + query) * kLog2E : kInfinity;
                sum[r][half] = exists ? simt::load(head_sums + query) : 0.0F;
            }
        }
    }
};

/// Scores become probabilities; 0 where a query must not see a key, for any lse: the zeros that
/// stand for keys past the end could else overflow.
template <class Steps, int m, int n>
SIMT_DEVICE void recompute_probabilities(Accumulator<m, n>& scores, const RowStatistics<m>& rows,
                                         const Problem& problem, int first_query, int first_key,
                                         bool masked) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 4; ++i) {
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                scores.at[r][c][i] = simt::exp2_approximate(
                    fmaf(scores.at[r][c][i], problem.scale * kLog2E, -rows.lse[r][i / 2]));
            }
            if (!masked) continue;
            const int limit =
                key_limit<Steps>(problem, first_query + 16 * r + row_in_piece(i)) - first_key;
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                if (8 * c + column_in_piece(i) >= limit) scores.at[r][c][i] = 0.0F;
            }
        }
    }
    if (masked && problem.window != 0)
        fill_before_window(scores, problem, first_query, first_key, 0.0F);
}

template <class C>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(C::threads) void query_gradient_kernel(
    BackwardParameters<typename C::Element> p) {
    using T = typename C::Element;
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const Shared<T> queries = simt::dynamic_shared<T>(0, QueryTile::elements);
    const Shared<T> gradients = simt::dynamic_shared<T>(QueryTile::bytes, QueryTile::elements);
    const Shared<T> stages = simt::dynamic_shared<T>(2 * QueryTile::bytes, 4 * KeyTile::elements);

    const QueryBlock block = query_block<S, C::query_tile>(p.problem);
    const int warp_row = simt::warp_index() * C::warp_rows;
    const int warp_query = block.first_query + warp_row;
    const int query_length = p.problem.query_length;
    const int key_length = p.problem.key_length;
    const HeadRows<const T> k = head_rows(p.k, block.batch, block.kv_head);
    const HeadRows<const T> v = head_rows(p.v, block.batch, block.kv_head);
    const int tiles =
        visible_key_tiles<S>(p.problem, block.first_query, C::query_tile, C::key_tile);
    const auto first_tile = [&] {
        return first_key_tile(p.problem, block.first_query, C::key_tile);
    };
    const auto copy_keys = [&](int tile) {
        const Shared<T> keys = stages + (tile % 2) * (2 * KeyTile::elements);
        copy_tile<KeyTile, C::threads>(keys, k, tile * C::key_tile, key_length);
        copy_tile<KeyTile, C::threads>(keys + KeyTile::elements, v, tile * C::key_tile, key_length);
    };
    if (tiles > 0) {
        copy_tile<QueryTile, C::threads>(queries, head_rows(p.q, block.batch, block.head),
                                         block.first_query, query_length);
        copy_tile<QueryTile, C::threads>(gradients, head_rows(p.d_o, block.batch, block.head),
                                         block.first_query, query_length);
        copy_keys(tiles - 1);
    }
    const std::int64_t row = first_row(p.problem, block.batch, block.head);
    RowStatistics<C::Output::row_tiles> rows;
    rows.load(p.lse + row, p.row_sums + row, warp_query, query_length);
    typename C::Output output;
    output.clear();
    for (int tile = tiles - 1; tile >= first_tile(); --tile) {
        const int first_key = tile * C::key_tile;
        const Shared<T> keys = stages + (tile % 2) * (2 * KeyTile::elements);
        const Shared<T> values = keys + KeyTile::elements;
        S::advance([&] {
            if (tile > first_tile()) copy_keys(tile - 1);
        });
        typename C::Scores scores;
        scores.clear();
        multiply_tiles<QueryTile, KeyTile, S>(scores, queries + warp_row * C::head_dim, keys);
        recompute_probabilities<S>(
            scores, rows, p.problem, warp_query, first_key,
            needs_mask<S>(p.problem, block.first_query, C::query_tile, first_key, C::key_tile));
        typename C::Scores d_p;
        d_p.clear();
        multiply_tiles<QueryTile, KeyTile, S>(d_p, gradients + warp_row * C::head_dim, values);
        SIMT_UNROLL
        for (int r = 0; r < C::Scores::row_tiles; ++r) {
            SIMT_UNROLL
            for (int c = 0; c < C::Scores::column_tiles; ++c) {
                SIMT_UNROLL
                for (int i = 0; i < 4; ++i) {
                    scores.at[r][c][i] *= d_p.at[r][c][i] - rows.sum[r][i / 2];
                }
            }
        }
        multiply_values<KeyTile, S>(output, scores, keys);
    }
    output.multiply_by(p.problem.scale);
    simt::sync_warp();  // only this warp reads its queries
    put_into_tile<QueryTile>(queries, warp_row, output);
    simt::sync_warp();
    store_rows<QueryTile, C::warp_rows>(head_rows(p.d_q, block.batch, block.head), queries,
                                        warp_row, block.first_query, query_length);
}

}  // namespace isoflop::attention::flash_attn_2
