// Forward pass of the first FlashAttention (Dao 2022, arXiv 2205.14135, algorithm 1): key tiles
// outside, queries inside. A block owns a chunk of the queries of one head. While a tile of keys
// and values is in shared memory, all queries of the chunk that see it pass by; between two key
// tiles their outputs, maxima and sums wait in memory, in fp32.
//
// A warp takes 16 queries at a time, always the same ones, and no other warp touches their rows:
// what a lane saves it restores itself, and the only barriers are those around a key tile. Its next
// queries arrive while it is busy with softmax and values.
#pragma once

#include "attention/tensor_cores/softmax.hpp"

namespace isoflop::attention::sdpa {

using namespace tensor_cores;

template <class T, int head_dim_, int chunk_, int key_tile_, int warps_,
          class Steps_ = tensor_cores::Steps>
struct ForwardConfig {
    using Element = T;
    using Steps = Steps_;
    static constexpr int head_dim = head_dim_;
    static constexpr int chunk = chunk_;  ///< queries of a block
    static constexpr int key_tile = key_tile_;
    static constexpr int warps = warps_;
    static constexpr int threads = warps * simt::warp_lanes;
    static constexpr int warp_rows = 16;
    static constexpr int turns = chunk / (warps * warp_rows);
    using QueryTile = Tile<T, warp_rows, head_dim>;  ///< of one warp
    using KeyTile = Tile<T, key_tile, head_dim>;
    static constexpr int shared_bytes = 2 * KeyTile::bytes + warps * QueryTile::bytes;
    using Scores = Accumulator<1, key_tile / 8>;
    using Output = Accumulator<1, head_dim / 8>;
    /// Of the steps along head_dim: all at once would take too many registers.
    static constexpr int unroll = head_dim >= 128 ? 2 : head_dim / 16;
    /// What waits in memory: the pieces of the output, then maxima and sums.
    static constexpr int turn_floats = (Output::column_tiles + 1) * kPieceFloats;
    static constexpr int block_floats = turns * warps * turn_floats;
    static_assert(chunk % (warps * warp_rows) == 0 && key_tile % 16 == 0 && head_dim % 32 == 0);
};

template <class T>
struct ForwardPart {
    ForwardParameters<T> arguments;
    int first_block = 0;    ///< that this launch begins with
    Global<float> waiting;  ///< C::block_floats for each block of the launch
};

/// The queries that a warp takes in its turns.
template <class C>
struct Turns {
    using S = typename C::Steps;
    const Problem& problem;
    int first_query;  ///< of this warp in the first turn
    int count;        ///< turns in which there are queries

    SIMT_DEVICE Turns(const Problem& given, int block_query)
        : problem(given),
          first_query(block_query + simt::warp_index() * C::warp_rows),
          count(smaller(
              ceil_div(larger(problem.query_length - first_query, 0), C::warps * C::warp_rows),
              C::turns)) {}

    SIMT_DEVICE int query(int turn) const { return first_query + turn * (C::warps * C::warp_rows); }
    /// Key tiles that the queries of a turn go through: at least one, so that queries without keys
    /// are written too.
    SIMT_DEVICE int tiles(int turn) const {
        return larger(visible_key_tiles<S>(problem, query(turn), C::warp_rows, C::key_tile), 1);
    }
    SIMT_DEVICE int first_tile(int turn) const {
        return first_key_tile(problem, query(turn), C::key_tile);
    }
    /// The first turn of which the queries see a key tile, or with a window, one after it; those
    /// that follow begin no earlier.
    SIMT_DEVICE int first(int tile) const {
        int turn = 0;
        while (turn < count && tiles(turn) <= tile) ++turn;
        return turn;
    }
    /// Whether a turn exists and its queries see no key tile before this one only.
    SIMT_DEVICE bool has_begun(int turn, int tile) const {
        return turn < count && first_tile(turn) <= tile;
    }
};

template <class C>
SIMT_DEVICE void save_turn(const Global<float>& place, const typename C::Output& output,
                           const SoftmaxRows<1>& rows) {
    save_pieces(place, output);
    simt::store_vector(place + (C::Output::column_tiles * kPieceFloats + 4 * simt::lane_index()),
                       simt::Vector16<float>{{rows.maximum[0][0], rows.maximum[0][1],
                                              rows.sum[0][0], rows.sum[0][1]}});
}
template <class C>
SIMT_DEVICE void restore_turn(const Global<float>& place, typename C::Output& output,
                              SoftmaxRows<1>& rows) {
    restore_pieces(place, output);
    const simt::Vector16<float> saved = simt::load_vector(
        place + (C::Output::column_tiles * kPieceFloats + 4 * simt::lane_index()));
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
        rows.maximum[0][half] = saved.values[half];
        rows.sum[0][half] = saved.values[2 + half];
    }
}

/// One tile of keys for 16 queries of a warp. `copy_next` begins to copy the queries after these.
template <class C, class CopyNext>
SIMT_DEVICE void attend(const ForwardParameters<typename C::Element>& p, const QueryBlock& block,
                        const Shared<typename C::Element>& queries,
                        const Shared<typename C::Element>& keys, int first_query, int tile,
                        bool first, bool last, const Global<float>& waiting,
                        const CopyNext& copy_next) {
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const int first_key = tile * C::key_tile;
    S::arrive();
    typename C::Output output;
    SoftmaxRows<1> rows;
    if (first) {
        output.clear();
        rows.clear();
    } else {
        restore_turn<C>(waiting, output, rows);
    }
    typename C::Scores scores;
    scores.clear();
    multiply_tiles<QueryTile, KeyTile, S, C::unroll>(scores, queries, keys);
    if (needs_mask<S>(p.problem, first_query, C::warp_rows, first_key, C::key_tile)) {
        mask_scores<S>(scores, p.problem, first_query, first_key);
    }
    if (!last) {
        simt::sync_warp();  // every lane has read these queries
        copy_next();
    }
    online_softmax(scores, output, rows, p.problem.scale * kLog2E);
    multiply_values<KeyTile, S>(output, scores, keys + KeyTile::elements);
    if (!last) return save_turn<C>(waiting, output, rows);
    const int batch = simt::opaque(block.batch);
    finish_rows(output, rows, p.lse + first_row(p.problem, batch, block.head), first_query,
                p.problem.query_length);
    simt::sync_warp();
    put_into_tile<QueryTile>(queries, 0, output);
    simt::sync_warp();
    store_rows<QueryTile, C::warp_rows>(head_rows(p.o, batch, block.head), queries, 0, first_query,
                                        p.problem.query_length);
    simt::sync_warp();
    copy_next();
}

template <class C>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(C::threads) void forward_kernel(
    ForwardPart<typename C::Element> part) {
    using T = typename C::Element;
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const ForwardParameters<T>& p = part.arguments;
    const Shared<T> keys = simt::dynamic_shared<T>(0, 2 * KeyTile::elements);
    const Shared<T> queries = simt::dynamic_shared<T>(
        2 * KeyTile::bytes + simt::warp_index() * QueryTile::bytes, QueryTile::elements);

    const QueryBlock block =
        query_block<S, C::chunk>(p.problem, part.first_block + simt::block_index().x);
    const Turns<C> turns(p.problem, block.first_query);
    const int tiles =
        larger(visible_key_tiles<S>(p.problem, block.first_query, C::chunk, C::key_tile), 1);
    // Places are computed when they are needed: registers are few.
    const auto copy_queries = [&](int turn) {
        copy_warp_tile<QueryTile>(queries, head_rows(p.q, simt::opaque(block.batch), block.head),
                                  turns.query(turn), p.problem.query_length);
    };
    const auto place_of = [&](int turn) {
        const int tile = turn * C::warps + simt::opaque(simt::warp_index());
        return part.waiting + (static_cast<std::int64_t>(simt::block_index().x) * C::block_floats +
                               tile * C::turn_floats);
    };
    int turn = 0;
    if (turn < turns.count) copy_queries(turn);
    for (int tile = first_key_tile(p.problem, block.first_query, C::key_tile); tile < tiles;
         ++tile) {
        S::advance([&] {
            const int first_key = tile * C::key_tile;
            const int batch = simt::opaque(block.batch);
            copy_tile<KeyTile, C::threads>(keys, head_rows(p.k, batch, block.kv_head), first_key,
                                           p.problem.key_length);
            copy_tile<KeyTile, C::threads>(keys + KeyTile::elements,
                                           head_rows(p.v, batch, block.kv_head), first_key,
                                           p.problem.key_length);
        });
        S::advance([] {});
        while (turns.has_begun(turn, tile)) {
            const bool through = !turns.has_begun(turn + 1, tile);
            const int next = through ? turns.first(tile + 1) : turn + 1;
            attend<C>(p, block, queries, keys, turns.query(turn), tile,
                      tile == turns.first_tile(turn), tile + 1 == turns.tiles(turn), place_of(turn),
                      [&] {
                          if (next < turns.count) copy_queries(next);
                      });
            turn = next;
            if (through) break;
        }
    }
}

}  // namespace isoflop::attention::sdpa
