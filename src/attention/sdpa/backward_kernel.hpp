// Backward pass of the first FlashAttention (Dao 2022, arXiv 2205.14135, algorithm 4): key tiles
// outside, queries inside. A block owns one key/value head of one sequence. d_k and d_v of a key
// tile are summed in registers, over the queries of all heads of the group; d_q is summed over key
// tiles in memory, in fp32, by this block alone and so always in the order of the loop.
//
// As in flash_attn_2 scores are transposed, S^T = K Q^T, and each warp has some rows of keys. d_q
// sums over keys, so dS^T goes through shared memory, and each warp computes a piece of dS K,
// always the same one: what a lane saves it restores itself.
//
// Where the registers do not hold d_k and d_v (head_dim 256), each has a launch of its own, that of
// d_k with d_q.
#pragma once

#include "attention/tensor_cores/transposed_scores.hpp"

namespace isoflop::attention::sdpa {

using namespace tensor_cores;

template <class T, int head_dim_, int query_tile_, int key_tile_, int warps_, KeyGradients results_,
          class Steps_ = tensor_cores::Steps>
struct BackwardConfig {
    using Element = T;
    using Steps = Steps_;
    static constexpr int head_dim = head_dim_;
    static constexpr int query_tile = query_tile_;
    static constexpr int key_tile = key_tile_;
    static constexpr int warps = warps_;
    static constexpr int threads = warps * simt::warp_lanes;
    static constexpr int warp_rows = key_tile / warps;
    static constexpr bool of_keys = results_ != KeyGradients::of_values;
    static constexpr bool of_values = results_ != KeyGradients::of_keys;
    static constexpr bool of_queries = of_keys;
    using QueryTile = Tile<T, query_tile, head_dim>;
    using KeyTile = Tile<T, key_tile, head_dim>;
    using ScoreTile = Tile<T, key_tile, query_tile>;  ///< dS^T
    /// Of a stage: lse and row sums, queries and output gradients.
    static constexpr int statistics_bytes = 2 * query_tile * static_cast<int>(sizeof(float));
    static constexpr int scores_offset = 2 * KeyTile::bytes + 4 * QueryTile::bytes;
    static constexpr int statistics_offset = scores_offset + ScoreTile::bytes;
    static constexpr int shared_bytes = statistics_offset + 2 * statistics_bytes;
    using Scores = Accumulator<warp_rows / 16, query_tile / 8>;
    using Output = Accumulator<warp_rows / 16, head_dim / 8>;
    /// The sums of a thread leave few registers: of long loops only some steps at a time.
    static constexpr int score_unroll = head_dim >= 128 ? 4 : head_dim / 16;
    static constexpr int d_p_unroll = score_unroll;
    /// Pieces of d_q: 16 queries and some columns for each warp.
    static constexpr int row_groups = query_tile / 16;
    static constexpr int column_groups = warps / row_groups;
    static constexpr int warp_pieces = head_dim / column_groups / 8;
    using QueryGradient = Accumulator<1, warp_pieces % 4 == 0 ? 4 : 2>;
    static constexpr int tile_floats = query_tile * head_dim;
    static_assert(warp_rows % 16 == 0 && query_tile % 16 == 0 && head_dim % 32 == 0);
    static_assert(warps % row_groups == 0 && head_dim % (16 * column_groups) == 0);
    static_assert(query_tile <= threads);
};

template <class T>
struct BackwardPart {
    BackwardParameters<T> arguments;
    int first_block = 0;    ///< that this launch begins with
    Global<float> waiting;  ///< d_q of a group in fp32, for each block of the launch
};

/// Adds dS K of a query tile to d_q, which waits in memory. The last key tile that the queries see
/// writes the result by way of their tile in shared memory, which no thread reads any more.
template <class C>
SIMT_DEVICE void add_query_gradient(const BackwardParameters<typename C::Element>& p, int batch,
                                    int head, int first_query, int tile,
                                    const Shared<typename C::Element>& keys,
                                    const Shared<typename C::Element>& d_scores,
                                    const Shared<typename C::Element>& queries,
                                    const Global<float>& tile_waiting) {
    using T = typename C::Element;
    using S = typename C::Steps;
    const int warp = simt::opaque(simt::warp_index());
    const int row_group = warp % C::row_groups;
    const int first_piece = warp / C::row_groups * C::warp_pieces;
    const Global<float> waiting = tile_waiting + warp * (C::warp_pieces * kPieceFloats);
    const int tiles =
        larger(visible_key_tiles<S>(p.problem, first_query, C::query_tile, C::key_tile), 1);
    // A few columns at a time: beside d_k and d_v there are few registers.
    SIMT_UNROLL_BY(1)
    for (int piece = 0; piece < C::warp_pieces; piece += C::QueryGradient::column_tiles) {
        typename C::QueryGradient d_q;
        if (tile == first_key_tile(p.problem, first_query, C::key_tile)) {
            d_q.clear();
        } else {
            restore_pieces(waiting + piece * kPieceFloats, d_q);
        }
        SIMT_UNROLL_BY(1)
        for (int step = 0; step < C::key_tile / 16; ++step) {
            std::uint32_t a[1][4];
            load_a_transposed<typename C::ScoreTile>(a[0], d_scores, 16 * row_group, step);
            SIMT_UNROLL
            for (int pair = 0; pair < C::QueryGradient::column_tiles / 2; ++pair) {
                std::uint32_t b[4];
                S::template load_b_transposed<typename C::KeyTile>(
                    b, keys, 16 * step, (first_piece + piece) / 2 + pair);
                multiply_pair<T>(d_q, a, b, pair);
            }
        }
        if (tile + 1 < tiles) {
            save_pieces(waiting + piece * kPieceFloats, d_q);
        } else {
            d_q.multiply_by(p.problem.scale);
            put_into_columns<typename C::QueryTile>(queries, 16 * row_group, first_piece + piece,
                                                    d_q);
        }
    }
    if (tile + 1 < tiles) return;
    simt::sync_warp();
    store_columns<typename C::QueryTile, C::warp_pieces>(head_rows(p.d_q, batch, head), queries,
                                                         16 * row_group, first_piece, first_query,
                                                         p.problem.query_length);
}

template <class C>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(C::threads) void backward_kernel(
    BackwardPart<typename C::Element> part) {
    using T = typename C::Element;
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const BackwardParameters<T>& p = part.arguments;
    const Shared<T> keys = simt::dynamic_shared<T>(0, KeyTile::elements);
    const Shared<T> values = simt::dynamic_shared<T>(KeyTile::bytes, KeyTile::elements);
    const Shared<T> stages = simt::dynamic_shared<T>(2 * KeyTile::bytes, 4 * QueryTile::elements);
    const Shared<T> d_scores = simt::dynamic_shared<T>(C::scores_offset, C::ScoreTile::elements);
    const Shared<float> statistics =
        simt::dynamic_shared<float>(C::statistics_offset, 4 * C::query_tile);

    // Computed where they are needed: kept over the loops, places would take registers.
    const auto number = [&] { return simt::opaque(part.first_block + simt::block_index().x); };
    const auto batch = [&] { return number() / p.problem.kv_heads; };
    const auto kv_head = [&] { return number() % p.problem.kv_heads; };
    const int warp_row = simt::warp_index() * C::warp_rows;
    const int query_length = p.problem.query_length;
    const int key_length = p.problem.key_length;
    const int group = p.problem.heads / p.problem.kv_heads;
    const int first_head = S::first_head(kv_head(), group);
    const int query_tiles = ceil_div(query_length, C::query_tile);
    const auto place_of = [&](int head, int query_tile) {
        const std::int64_t waiting_head =
            static_cast<std::int64_t>(simt::opaque(simt::block_index().x)) * group + head -
            first_head;
        return part.waiting + (waiting_head * query_tiles + query_tile) * C::tile_floats;
    };

    const auto copy_queries = [&](const QuerySteps& at, int stage) {
        const int sequence = batch();
        const Shared<T> queries = stages + stage * (2 * QueryTile::elements);
        copy_tile<QueryTile, C::threads>(queries, head_rows(p.q, sequence, at.head),
                                         at.tile * C::query_tile, query_length);
        copy_tile<QueryTile, C::threads>(queries + QueryTile::elements,
                                         head_rows(p.d_o, sequence, at.head),
                                         at.tile * C::query_tile, query_length);
    };
    // The first key tile meets all queries, but those whose window begins after it, so that d_q of
    // those without keys is written too.
    const int tiles = larger(ceil_div(key_length, C::key_tile), 1);
    for (int tile = 0; tile < tiles; ++tile) {
        const KeyBlock block{
            .batch = batch(), .kv_head = kv_head(), .first_key = tile * C::key_tile};
        const int first_tile =
            tile == 0 ? 0 : first_query_tile(p.problem, block.first_key, C::query_tile);
        const int end_tile = end_query_tile(p.problem, block.first_key, C::key_tile, C::query_tile);
        QuerySteps at{.head = first_head,
                      .tile = first_tile,
                      .first_tile = first_tile,
                      .tiles = end_tile,
                      .end_head = first_tile < end_tile ? first_head + group : 0};
        // Keys that no query sees are not read; their gradients are 0.
        S::advance([&] {
            if (!at.more()) return;
            copy_tile<KeyTile, C::threads>(keys, head_rows(p.k, block.batch, block.kv_head),
                                           block.first_key, key_length);
            if constexpr (C::of_keys) {
                copy_tile<KeyTile, C::threads>(values, head_rows(p.v, block.batch, block.kv_head),
                                               block.first_key, key_length);
            }
            copy_queries(at, 0);
            store_statistics<C>(statistics, load_statistics<C>(p, batch(), at));
        });
        KeyGradientSums<C> sums;
        sums.clear();
        for (int stage = 0; at.more(); stage = 1 - stage) {
            const int head = at.head;
            const int query_tile = at.tile;
            const int first_query = query_tile * C::query_tile;
            const bool masked =
                needs_mask<S>(p.problem, first_query, C::query_tile, block.first_key, C::key_tile);
            at.next();
            QueryStatistics next;
            S::advance([&] {
                if (!at.more()) return;
                copy_queries(at, 1 - stage);
                next = load_statistics<C>(p, batch(), at);
            });
            const Shared<T> queries = stages + stage * (2 * QueryTile::elements);
            sums.add(p.problem, keys, values, queries, queries + QueryTile::elements,
                     statistics + stage * (2 * C::query_tile), d_scores, warp_row,
                     block.first_key + warp_row, first_query, masked);
            store_statistics<C>(statistics + (1 - stage) * (2 * C::query_tile), next);
            if constexpr (C::of_keys) {
                S::exchange();
                add_query_gradient<C>(p, batch(), head, first_query, tile, keys, d_scores, queries,
                                      place_of(head, query_tile));
            }
        }
        sums.write(p, {.batch = batch(), .kv_head = kv_head(), .first_key = block.first_key}, keys,
                   values, warp_row);
    }
}

}  // namespace isoflop::attention::sdpa
