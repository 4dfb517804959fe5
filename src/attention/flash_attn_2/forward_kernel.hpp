// Forward pass of FlashAttention-2 (Dao 2023, arXiv 2307.08691, algorithm 1): a block owns some
// queries of one head, each of its warps 16 or 32 of them, and goes through the keys that they see,
// from the last tile to the first. So masked tiles come first and no warp ever needs another's
// results.
//
// There is room for one tile of keys and one of values: values are copied while scores are
// computed, the next keys during softmax and the product with the values.
#pragma once

#include "attention/tensor_cores/softmax.hpp"

namespace isoflop::attention::flash_attn_2 {

using namespace tensor_cores;

template <class T, int head_dim_, int query_tile_, int key_tile_, int warps_,
          class Steps_ = tensor_cores::Steps>
struct ForwardConfig {
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
    static constexpr int shared_bytes = QueryTile::bytes + 2 * KeyTile::bytes;
    using Scores = Accumulator<warp_rows / 16, key_tile / 8>;
    using Output = Accumulator<warp_rows / 16, head_dim / 8>;
    static_assert(warp_rows % 16 == 0 && key_tile % 16 == 0 && head_dim % 32 == 0);
};

template <class C>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(C::threads) void forward_kernel(
    ForwardParameters<typename C::Element> p) {
    using T = typename C::Element;
    using S = typename C::Steps;
    using QueryTile = typename C::QueryTile;
    using KeyTile = typename C::KeyTile;
    const Shared<T> queries = simt::dynamic_shared<T>(0, QueryTile::elements);
    const Shared<T> keys = simt::dynamic_shared<T>(QueryTile::bytes, KeyTile::elements);
    const Shared<T> values =
        simt::dynamic_shared<T>(QueryTile::bytes + KeyTile::bytes, KeyTile::elements);

    const QueryBlock block = query_block<S, C::query_tile>(p.problem);
    const int warp_row = simt::warp_index() * C::warp_rows;
    const int warp_query = block.first_query + warp_row;
    const int key_length = p.problem.key_length;
    const HeadRows<const T> q = head_rows(p.q, block.batch, block.head);
    const HeadRows<const T> k = head_rows(p.k, block.batch, block.kv_head);
    const HeadRows<const T> v = head_rows(p.v, block.batch, block.kv_head);
    const int tiles =
        visible_key_tiles<S>(p.problem, block.first_query, C::query_tile, C::key_tile);
    const auto first_tile = [&] {
        return first_key_tile(p.problem, block.first_query, C::key_tile);
    };

    if (tiles > 0) {
        copy_tile<QueryTile, C::threads>(queries, q, block.first_query, p.problem.query_length);
        copy_tile<KeyTile, C::threads>(keys, k, (tiles - 1) * C::key_tile, key_length);
    }
    typename C::Output output;
    SoftmaxRows<C::Output::row_tiles> rows;
    output.clear();
    rows.clear();
    for (int tile = tiles - 1; tile >= first_tile(); --tile) {
        const int first_key = tile * C::key_tile;
        S::advance([&] { copy_tile<KeyTile, C::threads>(values, v, first_key, key_length); });
        typename C::Scores scores;
        scores.clear();
        multiply_tiles<QueryTile, KeyTile, S>(scores, queries + warp_row * C::head_dim, keys);
        if (needs_mask<S>(p.problem, block.first_query, C::query_tile, first_key, C::key_tile)) {
            mask_scores<S>(scores, p.problem, warp_query, first_key);
        }
        S::advance([&] {
            if (tile == first_tile()) return;
            copy_tile<KeyTile, C::threads>(keys, k, first_key - C::key_tile, key_length);
        });
        online_softmax(scores, output, rows, p.problem.scale * kLog2E);
        multiply_values<KeyTile, S>(output, scores, values);
    }
    finish_rows(output, rows, p.lse + first_row(p.problem, block.batch, block.head), warp_query,
                p.problem.query_length);
    // The queries of this warp have been read, before the last barrier.
    put_into_tile<QueryTile>(queries, warp_row, output);
    simt::sync_warp();
    store_rows<QueryTile, C::warp_rows>(head_rows(p.o, block.batch, block.head), queries, warp_row,
                                        block.first_query, p.problem.query_length);
}

}  // namespace isoflop::attention::flash_attn_2
