// Gradients of keys and values: a block owns some keys of one key/value head, each of its warps 16
// or 32 of them, and goes through the queries that see them, of all query heads of the group. So
// d_k and d_v are summed in fp32 registers, in one order, without atomics.
//
// Scores are computed transposed, S^T = K Q^T: a warp's probabilities then are, as they lie in the
// registers, an operand of d_v += P^T dO and d_k += dS^T Q, and nothing is exchanged between warps.
//
// Where the registers do not hold both results (head_dim 256), each has a launch of its own.
//
// On request d_q comes from here too, as dS is at hand: the warps put dS^T into shared memory,
// share the product dS K among them, and add it atomically to a buffer in fp32. That spares the two
// products that query_gradient_kernel.hpp computes again, but the order of the sums changes from
// run to run.
#pragma once

#include "attention/tensor_cores/transposed_scores.hpp"

namespace isoflop::attention::flash_attn_2 {

using namespace tensor_cores;

template <class T, int head_dim_, int query_tile_, int key_tile_, int warps_, KeyGradients results_,
          class Steps_ = tensor_cores::Steps>
struct KeyGradientsConfig {
    using Element = T;
    using Steps = Steps_;
    static constexpr int head_dim = head_dim_;
    static constexpr int query_tile = query_tile_;
    static constexpr int key_tile = key_tile_;
    static constexpr int warps = warps_;
    static constexpr int threads = warps * simt::warp_lanes;
    static constexpr int warp_rows = key_tile / warps;
    static constexpr bool of_keys = results_ != KeyGradients::of_values;
    static constexpr bool of_values =
        results_ != KeyGradients::of_keys && results_ != KeyGradients::of_keys_and_queries;
    static constexpr bool of_queries =
        results_ == KeyGradients::both_and_queries || results_ == KeyGradients::of_keys_and_queries;
    using QueryTile = Tile<T, query_tile, head_dim>;
    using KeyTile = Tile<T, key_tile, head_dim>;
    /// Of a stage: lse and row sums, queries and output gradients.
    static constexpr int statistics_bytes = 2 * query_tile * static_cast<int>(sizeof(float));
    static constexpr int statistics_offset = 2 * KeyTile::bytes + 4 * QueryTile::bytes;
    /// dS^T of the whole block.
    using ScoreTile = Tile<T, key_tile, query_tile>;
    static constexpr int scores_offset = statistics_offset + 2 * statistics_bytes;
    static constexpr int shared_bytes = scores_offset + (of_queries ? ScoreTile::bytes : 0);
    /// How the warps share dS K: 16 queries each, and some columns.
    static constexpr int query_groups = query_tile / 16;
    static constexpr int query_columns = head_dim * query_groups / warps;
    static_assert(!of_queries || (warps % query_groups == 0 && query_columns % 16 == 0));
    using Scores = Accumulator<warp_rows / 16, query_tile / 8>;
    using Output = Accumulator<warp_rows / 16, head_dim / 8>;
    static_assert(warp_rows % 16 == 0 && query_tile % 16 == 0 && head_dim % 32 == 0);
    static_assert(query_tile <= threads);
    /// 128 sums of a thread with 32 rows of a warp leave few registers beside scores and dP.
    static constexpr int score_unroll = head_dim / 16;
    static constexpr int d_p_unroll = warp_rows == 32 && head_dim == 64 ? 2 : head_dim / 16;
};

/// This warp's part of dS K, added to the sums of a head.
template <class C, class T>
SIMT_DEVICE void add_query_gradients(const Shared<T>& score_gradients, const Shared<T>& keys,
                                     const Global<float>& head_sums, int first_query,
                                     int query_length) {
    const int row = simt::warp_index() % C::query_groups * 16;
    const int column = simt::warp_index() / C::query_groups * C::query_columns;
    Accumulator<1, C::query_columns / 8> d_q;
    d_q.clear();
    SIMT_UNROLL
    for (int step = 0; step < C::key_tile / 16; ++step) {
        std::uint32_t a[1][4];
        load_a_transposed<typename C::ScoreTile>(a[0], score_gradients, row, step);
        SIMT_UNROLL
        for (int pair = 0; pair < C::query_columns / 16; ++pair) {
            std::uint32_t b[4];
            C::Steps::template load_b_transposed<typename C::KeyTile>(b, keys, 16 * step,
                                                                      column / 16 + pair);
            multiply_pair<T>(d_q, a, b, pair);
        }
    }
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int query = first_query + row + row_in_piece(2 * half);
        if (query >= query_length) continue;
        const Global<float> sums = head_sums + (static_cast<std::int64_t>(query) * C::head_dim +
                                                column + column_in_piece(0));
        SIMT_UNROLL
        for (int c = 0; c < C::query_columns / 8; ++c) {
            simt::atomic_add(sums + 8 * c, d_q.at[0][c][2 * half]);
            simt::atomic_add(sums + (8 * c + 1), d_q.at[0][c][2 * half + 1]);
        }
    }
}

template <class C>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(C::threads) void key_gradients_kernel(
    BackwardParameters<typename C::Element> p) {
    using T = typename C::Element;
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const Shared<T> keys = simt::dynamic_shared<T>(0, KeyTile::elements);
    const Shared<T> values = simt::dynamic_shared<T>(KeyTile::bytes, KeyTile::elements);
    const Shared<T> stages = simt::dynamic_shared<T>(2 * KeyTile::bytes, 4 * QueryTile::elements);
    const Shared<float> statistics =
        simt::dynamic_shared<float>(C::statistics_offset, 4 * C::query_tile);
    const Shared<T> score_tile =
        simt::dynamic_shared<T>(C::scores_offset, C::of_queries ? C::ScoreTile::elements : 0);

    const KeyBlock block = key_block<C::key_tile>(p.problem);
    const int warp_row = simt::warp_index() * C::warp_rows;
    const int query_length = p.problem.query_length;
    const int group = p.problem.heads / p.problem.kv_heads;
    const int first_tile = first_query_tile(p.problem, block.first_key, C::query_tile);
    const int tiles = end_query_tile(p.problem, block.first_key, C::key_tile, C::query_tile);

    const auto copy_queries = [&](const QuerySteps& at, int stage) {
        const Shared<T> queries = stages + stage * (2 * QueryTile::elements);
        copy_tile<QueryTile, C::threads>(queries, head_rows(p.q, block.batch, at.head),
                                         at.tile * C::query_tile, query_length);
        copy_tile<QueryTile, C::threads>(queries + QueryTile::elements,
                                         head_rows(p.d_o, block.batch, at.head),
                                         at.tile * C::query_tile, query_length);
    };
    const int first_head = S::first_head(block.kv_head, group);
    QuerySteps at{.head = first_head,
                  .tile = first_tile,
                  .first_tile = first_tile,
                  .tiles = tiles,
                  .end_head = first_tile < tiles ? first_head + group : 0};
    if (at.more()) {
        copy_tile<KeyTile, C::threads>(keys, head_rows(p.k, block.batch, block.kv_head),
                                       block.first_key, p.problem.key_length);
        copy_tile<KeyTile, C::threads>(values, head_rows(p.v, block.batch, block.kv_head),
                                       block.first_key, p.problem.key_length);
        copy_queries(at, 0);
        store_statistics<C>(statistics, load_statistics<C>(p, block.batch, at));
    }
    KeyGradientSums<C> sums;
    sums.clear();
    for (int stage = 0; at.more(); stage = 1 - stage) {
        const int first_query = at.tile * C::query_tile;
        const bool masked =
            needs_mask<S>(p.problem, first_query, C::query_tile, block.first_key, C::key_tile);
        const int head = at.head;
        at.next();
        QueryStatistics next;
        S::advance([&] {
            if (!at.more()) return;
            copy_queries(at, 1 - stage);
            next = load_statistics<C>(p, block.batch, at);
        });
        const Shared<T> queries = stages + stage * (2 * QueryTile::elements);
        sums.add(p.problem, keys, values, queries, queries + QueryTile::elements,
                 statistics + stage * (2 * C::query_tile), score_tile, warp_row,
                 block.first_key + warp_row, first_query, masked);
        if constexpr (C::of_queries) {
            S::exchange();
            const std::int64_t row = first_row(p.problem, block.batch, head);
            add_query_gradients<C>(score_tile, keys, p.d_q_sums + row * C::head_dim, first_query,
                                   query_length);
        }
        // Stored here, when the loads have long arrived, so that no thread waits for them.
        store_statistics<C>(statistics + (1 - stage) * (2 * C::query_tile), next);
    }
    sums.write(p, block, keys, values, warp_row);
}

}  // namespace isoflop::attention::flash_attn_2
