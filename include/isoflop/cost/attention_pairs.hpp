// Which query-key pairs an attention backend computes. Fused backends work in tiles of queries and
// skip keys beyond the last key that the last query of a tile sees; manual attention computes the
// whole S x S matrix. Kernels and cost model share these numbers, so that counted and issued
// products agree.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isoflop/cost/execution.hpp"

namespace isoflop::cost {

inline constexpr std::int64_t kAttentionQueryTile = 64;
inline constexpr std::int64_t kAttentionKeyTile = 64;

/// First key that query `query` must not see; with unequal lengths the last query sees the last
/// key.
[[nodiscard]] constexpr std::int64_t causal_key_limit(std::int64_t query, std::int64_t query_length,
                                                      std::int64_t key_length) {
    return std::clamp<std::int64_t>(query + 1 + key_length - query_length, 0, key_length);
}

/// First key that query `query` sees, with a window below causal_key_limit; 0: no window.
[[nodiscard]] constexpr std::int64_t window_key_start(std::int64_t query, std::int64_t query_length,
                                                      std::int64_t key_length,
                                                      std::int64_t window) {
    if (window <= 0) return 0;
    return std::clamp<std::int64_t>(query + 1 + key_length - query_length - window, 0, key_length);
}

/// Keys visited by the query tile that starts at `first_query`: up to the limit of its last query.
[[nodiscard]] constexpr std::int64_t visited_keys(std::int64_t first_query,
                                                  std::int64_t query_length,
                                                  std::int64_t key_length, bool causal) {
    if (!causal) return key_length;
    const std::int64_t last = std::min(first_query + kAttentionQueryTile, query_length) - 1;
    return causal_key_limit(last, query_length, key_length);
}

/// Pairs computed for one head of one sequence on a CPU. `window`: of causal attention, the keys
/// that a query sees at most; 0: no bound.
[[nodiscard]] constexpr std::uint64_t visited_pairs(AttentionBackend backend,
                                                    std::int64_t query_length,
                                                    std::int64_t key_length, bool causal,
                                                    std::int64_t window = 0) {
    if (backend == AttentionBackend::manual) {
        return static_cast<std::uint64_t>(query_length) * static_cast<std::uint64_t>(key_length);
    }
    std::uint64_t pairs = 0;
    for (std::int64_t first = 0; first < query_length; first += kAttentionQueryTile) {
        const std::int64_t rows = std::min(kAttentionQueryTile, query_length - first);
        const std::int64_t keys = visited_keys(first, query_length, key_length, causal) -
                                  window_key_start(first, query_length, key_length, window);
        pairs += static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(keys);
    }
    return pairs;
}

/// Rows of queries and keys that a block of a GPU kernel multiplies together, in whole tiles for
/// all lengths.
struct GpuTile {
    std::int64_t queries = 0;
    std::int64_t keys = 0;
};
/// Of our flash_attn_2 kernels: forward, d_q, and d_k with d_v. Zero for a head_dim without any.
struct GpuAttentionTiles {
    GpuTile forward, query_gradients, key_gradients;
    /// With atomics, where d_q is summed by the kernel of d_k and d_v.
    GpuTile all_gradients;
};
[[nodiscard]] constexpr GpuAttentionTiles flash_attn_2_tiles(std::int64_t head_dim) {
    switch (head_dim) {
        case 32:
        case 64: return {{128, 64}, {128, 64}, {32, 128}, {32, 128}};
        case 96:
        case 128: return {{128, 64}, {64, 64}, {32, 128}, {32, 64}};
        case 256: return {{64, 64}, {64, 16}, {16, 64}, {16, 64}};
        default: return {};
    }
}

/// Of our sdpa kernels, key tiles outside: forward, where a warp takes 16 queries at a time, and
/// backward.
struct GpuSdpaTiles {
    GpuTile forward, backward;
};
[[nodiscard]] constexpr GpuSdpaTiles sdpa_tiles(std::int64_t head_dim) {
    switch (head_dim) {
        case 32: return {{16, 128}, {64, 128}};
        case 64: return {{16, 128}, {32, 128}};
        case 96: return {{16, 128}, {32, 64}};
        case 128: return {{16, 128}, {16, 128}};
        case 256: return {{16, 32}, {16, 64}};
        default: return {};
    }
}

/// Pairs of whole tiles that a kernel with query tiles outside computes for one head.
[[nodiscard]] constexpr std::uint64_t query_tile_pairs(const GpuTile& tile,
                                                       std::int64_t query_length,
                                                       std::int64_t key_length, bool causal,
                                                       std::int64_t window = 0) {
    std::int64_t tiles = 0;
    for (std::int64_t first = 0; first < query_length; first += tile.queries) {
        const std::int64_t last = std::min(first + tile.queries, query_length) - 1;
        const std::int64_t keys =
            causal ? causal_key_limit(last, query_length, key_length) : key_length;
        const std::int64_t start = window_key_start(first, query_length, key_length, window);
        tiles += (keys + tile.keys - 1) / tile.keys - start / tile.keys;
    }
    return static_cast<std::uint64_t>(tiles * tile.queries * tile.keys);
}

/// The same with key tiles outside.
[[nodiscard]] constexpr std::uint64_t key_tile_pairs(const GpuTile& tile, std::int64_t query_length,
                                                     std::int64_t key_length, bool causal,
                                                     std::int64_t window = 0) {
    const std::int64_t all = (query_length + tile.queries - 1) / tile.queries;
    std::int64_t tiles = 0;
    for (std::int64_t first = 0; first < key_length; first += tile.keys) {
        const std::int64_t seen_from =
            causal ? std::max<std::int64_t>(first - (key_length - query_length), 0) : 0;
        // Before the first query whose window begins after the tile's last key.
        const std::int64_t last = std::min(first + tile.keys, key_length) - 1;
        const std::int64_t seen_to = last - (key_length - query_length) + window;
        const std::int64_t end =
            window > 0 ? std::min(all, (seen_to + tile.queries - 1) / tile.queries) : all;
        tiles += std::max<std::int64_t>(end - seen_from / tile.queries, 0);
    }
    return static_cast<std::uint64_t>(tiles * tile.queries * tile.keys);
}

/// Multiply-adds of the attention core for one head and sequence, divided by head_dim. `scores` are
/// the products of q and k and the gradients of both, `values` those of the probabilities and v.
struct CorePairs {
    std::uint64_t forward_scores = 0;
    std::uint64_t forward_values = 0;
    std::uint64_t backward_scores = 0;
    std::uint64_t backward_values = 0;
};

/// Products that the sdpa kernels of a GPU issue.
[[nodiscard]] constexpr CorePairs sdpa_core_pairs(std::int64_t head_dim, std::int64_t query_length,
                                                  std::int64_t key_length, bool causal,
                                                  std::int64_t window = 0) {
    const GpuSdpaTiles tiles = sdpa_tiles(head_dim);
    const std::uint64_t forward =
        key_tile_pairs(tiles.forward, query_length, key_length, causal, window);
    const std::uint64_t backward =
        key_tile_pairs(tiles.backward, query_length, key_length, causal, window);
    // The largest heads need a launch for d_v and one for the rest.
    return {forward, forward, (head_dim > 128 ? 4 : 3) * backward, 2 * backward};
}

/// Products that a kernel of `device` issues. Fused backends compute the scores again in backward;
/// the deterministic flash_attn_2 of a GPU does so twice, in a pass for d_q and one for d_k and
/// d_v.
[[nodiscard]] constexpr CorePairs core_pairs(const Execution& execution, std::int64_t head_dim,
                                             std::int64_t query_length, std::int64_t key_length,
                                             bool causal, std::int64_t window = 0) {
    const AttentionBackend backend = execution.attention_backend;
    const GpuAttentionTiles tiles = flash_attn_2_tiles(head_dim);
    if (execution.device == DeviceKind::cuda && backend == AttentionBackend::sdpa &&
        sdpa_tiles(head_dim).forward.keys > 0)
        return sdpa_core_pairs(head_dim, query_length, key_length, causal, window);
    const bool own_kernels = execution.device == DeviceKind::cuda &&
                             backend == AttentionBackend::flash_attn_2 && tiles.forward.keys > 0;
    if (!own_kernels) {
        const std::uint64_t pairs =
            visited_pairs(backend, query_length, key_length, causal, window);
        return {pairs, pairs, (backend == AttentionBackend::manual ? 2 : 3) * pairs, 2 * pairs};
    }
    const std::uint64_t forward =
        query_tile_pairs(tiles.forward, query_length, key_length, causal, window);
    // The accumulators of d_k and d_v of the largest heads need a launch each.
    const bool apart = head_dim > 128;
    if (!execution.deterministic) {
        const std::uint64_t pairs =
            key_tile_pairs(tiles.all_gradients, query_length, key_length, causal, window);
        const std::uint64_t of_values =
            apart ? key_tile_pairs(tiles.key_gradients, query_length, key_length, causal, window)
                  : 0;
        return {forward, forward, 3 * pairs + of_values, (apart ? 1 : 2) * pairs + of_values};
    }
    const std::uint64_t queries =
        query_tile_pairs(tiles.query_gradients, query_length, key_length, causal, window);
    const std::uint64_t keys =
        key_tile_pairs(tiles.key_gradients, query_length, key_length, causal, window);
    return {forward, forward, 2 * queries + (apart ? 3 : 2) * keys, queries + 2 * keys};
}

}  // namespace isoflop::cost
