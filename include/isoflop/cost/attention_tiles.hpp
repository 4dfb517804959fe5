// Which query-key pairs an attention backend computes. Fused backends work in tiles of queries and
// skip what lies beyond the last key that a tile's last query may see; manual attention computes
// the whole S x S matrix. Kernels and cost model share these numbers, so that counted and issued
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

/// Keys visited by the query tile that starts at `first_query`: up to the limit of its last query.
[[nodiscard]] constexpr std::int64_t visited_keys(std::int64_t first_query,
                                                  std::int64_t query_length,
                                                  std::int64_t key_length, bool causal) {
    if (!causal) return key_length;
    const std::int64_t last = std::min(first_query + kAttentionQueryTile, query_length) - 1;
    return causal_key_limit(last, query_length, key_length);
}

/// Pairs computed for one head of one sequence.
[[nodiscard]] constexpr std::uint64_t visited_pairs(AttentionBackend backend,
                                                    std::int64_t query_length,
                                                    std::int64_t key_length, bool causal) {
    if (backend == AttentionBackend::manual) {
        return static_cast<std::uint64_t>(query_length) * static_cast<std::uint64_t>(key_length);
    }
    std::uint64_t pairs = 0;
    for (std::int64_t first = 0; first < query_length; first += kAttentionQueryTile) {
        const std::int64_t rows = std::min(kAttentionQueryTile, query_length - first);
        pairs += static_cast<std::uint64_t>(rows) *
                 static_cast<std::uint64_t>(visited_keys(first, query_length, key_length, causal));
    }
    return pairs;
}

}  // namespace isoflop::cost
