// Where the heads lie in memory, which keys a query sees, and which block works on what.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "attention/tensor_cores/shared_tile.hpp"

namespace isoflop::attention::tensor_cores {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kLog2E = 1.44269504088896340736F;
inline constexpr float kLn2 = 0.69314718055994530942F;

/// attention::Heads with its element type.
template <class T>
struct TypedHeads {
    Global<T> data;
    std::int64_t batch_stride = 0;
    std::int64_t token_stride = 0;
    std::int64_t head_stride = 0;
};

/// Tensors pass 2^31 elements: every product here is in 64 bits.
template <class T>
SIMT_DEVICE HeadRows<T> head_rows(const TypedHeads<T>& heads, std::int64_t batch,
                                  std::int64_t head) {
    return {heads.data + (batch * heads.batch_stride + head * heads.head_stride),
            heads.token_stride};
}

/// attention::Shape as kernels want it.
struct Problem {
    int heads = 1;
    int kv_heads = 1;
    int query_length = 0;
    int key_length = 0;
    bool causal = false;
    float scale = 1.0F;
    int window = 0;  ///< below key_length; 0: none
};

template <class T>
struct ForwardParameters {
    Problem problem;
    TypedHeads<const T> q, k, v;
    TypedHeads<T> o;
    Global<float> lse;
};

template <class T>
struct BackwardParameters {
    Problem problem;
    TypedHeads<const T> q, k, v, d_o;
    Global<const float> lse;
    Global<const float> row_sums;
    TypedHeads<T> d_q, d_k, d_v;
    /// Of the atomic pass: d_q / scale in fp32, [batch, heads, query_length, head_dim].
    Global<float> d_q_sums = nullptr;
};

SIMT_DEVICE int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}
SIMT_DEVICE int smaller(int a, int b) {
    return a < b ? a : b;
}
SIMT_DEVICE int larger(int a, int b) {
    return a < b ? b : a;
}

/// First key that `query` must not see; may be below 0.
template <class Steps>
SIMT_DEVICE int key_limit(const Problem& problem, int query) {
    if (!problem.causal) return problem.key_length;
    return smaller(Steps::causal_limit(query, problem.key_length - problem.query_length),
                   problem.key_length);
}

/// First key that `query` sees; may be below 0.
SIMT_DEVICE int key_start(const Problem& problem, int query) {
    if (problem.window == 0) return 0;
    return query + 1 + (problem.key_length - problem.query_length) - problem.window;
}

/// Key tiles up to the last one that queries [first, first + count) see; with a window they begin
/// at first_key_tile.
template <class Steps>
SIMT_DEVICE int visible_key_tiles(const Problem& problem, int first, int count, int key_tile) {
    const int last = smaller(first + count, problem.query_length) - 1;
    return ceil_div(larger(key_limit<Steps>(problem, last), 0), key_tile);
}

/// First key tile that a tile of queries from `first` on sees. Computed where it is needed, as in
/// needs_mask: kept over a loop, it would take a register.
SIMT_DEVICE int first_key_tile(const Problem& problem, int first, int key_tile) {
    if (problem.window == 0) return 0;
    return larger(key_start(problem, simt::opaque(first)), 0) / key_tile;
}

/// Whether queries [first, first + count) do not all see the keys [key, key + keys): of the limits
/// and the windows, those of the queries that see least count.
template <class Steps>
SIMT_DEVICE bool needs_mask(const Problem& problem, int first, int count, int key, int keys) {
    return key + keys > smaller(key_limit<Steps>(problem, first), problem.key_length) ||
           (problem.window != 0 && key < key_start(problem, simt::opaque(first) + count - 1));
}

/// First query tile that sees key `key`.
SIMT_DEVICE int first_query_tile(const Problem& problem, int key, int query_tile) {
    if (!problem.causal) return 0;
    return larger(key - (problem.key_length - problem.query_length), 0) / query_tile;
}

/// End of the query tiles that see a key of the tile from `first_key` on.
SIMT_DEVICE int end_query_tile(const Problem& problem, int first_key, int key_tile,
                               int query_tile) {
    if (problem.window == 0) return ceil_div(problem.query_length, query_tile);
    const int before = smaller(first_key + key_tile, problem.key_length) - problem.key_length;
    const int end = before - 1 + problem.query_length + problem.window;
    return ceil_div(smaller(larger(end, 0), problem.query_length), query_tile);
}

/// Row of lse and row_sums, [batch, heads, query_length], at which a head begins.
SIMT_DEVICE std::int64_t first_row(const Problem& problem, std::int64_t batch, std::int64_t head) {
    return (batch * problem.heads + head) * problem.query_length;
}

/// A block of queries of one head. All blocks are in x, as y and z end at 65535. Those of one
/// key/value head follow each other, so that its keys and values stay in the L2 cache; among them
/// those with the most visible keys come first, so that short ones fill the gaps at the end.
struct QueryBlock {
    int batch = 0;
    int head = 0;
    int kv_head = 0;
    int first_query = 0;
};

template <class Steps, int query_tile>
SIMT_DEVICE QueryBlock query_block(const Problem& problem, int number = simt::block_index().x) {
    const int tiles = ceil_div(problem.query_length, query_tile);
    const int group = problem.heads / problem.kv_heads;
    const int rank = number / group % tiles;
    const int kv_head = number / group / tiles % problem.kv_heads;
    const int head = kv_head * group + number % group;
    return {.batch = number / group / tiles / problem.kv_heads,
            .head = head,
            .kv_head = Steps::kv_head(head, group),
            .first_query = (tiles - 1 - rank) * query_tile};
}

/// A block of keys of one key/value head. The first keys are seen by the most queries.
struct KeyBlock {
    int batch = 0;
    int kv_head = 0;
    int first_key = 0;
};

template <int key_tile>
SIMT_DEVICE KeyBlock key_block(const Problem& problem) {
    const int tiles = ceil_div(problem.key_length, key_tile);
    const int number = simt::block_index().x;
    return {.batch = number / tiles / problem.kv_heads,
            .kv_head = number / tiles % problem.kv_heads,
            .first_key = number % tiles * key_tile};
}

}  // namespace isoflop::attention::tensor_cores
