// What the tests of counters expect: which tiles see each other, counted from the mask, and memory
// accesses that waste nothing.
#pragma once

#include "attention/emulated/launch_kernels.hpp"

namespace isoflop::test {

/// Multiples of 8, so that rows of lse fill sectors too; neither is a multiple of a tile.
inline Shape counted_shape(int head_dim, bool causal) {
    return make_shape(136, 200, head_dim, causal, 2, 1);
}

inline std::int64_t visited_key_tiles(const Shape& s, std::int64_t first_query, int query_tile,
                                      int key_tile) {
    const std::int64_t last = std::min<std::int64_t>(first_query + query_tile, s.query_length) - 1;
    return tiles_of(visible_keys(s, last), key_tile);
}

/// Of all query tiles of one head: key tiles, and keys in them.
struct Visits {
    std::uint64_t tiles = 0;
    std::uint64_t keys = 0;
};
inline Visits visits(const Shape& s, int query_tile, int key_tile) {
    Visits sum;
    for (std::int64_t first = 0; first < s.query_length; first += query_tile) {
        const std::int64_t tiles = visited_key_tiles(s, first, query_tile, key_tile);
        sum.tiles += static_cast<std::uint64_t>(tiles);
        sum.keys += static_cast<std::uint64_t>(std::min(tiles * key_tile, s.key_length));
    }
    return sum;
}

/// Query tiles that see a key tile, and queries in them, over all key tiles of one head.
inline Visits query_visits(const Shape& s, int query_tile, int key_tile) {
    Visits sum;
    for (std::int64_t first_key = 0; first_key < s.key_length; first_key += key_tile) {
        for (std::int64_t first = 0; first < s.query_length; first += query_tile) {
            const std::int64_t end = std::min<std::int64_t>(first + query_tile, s.query_length);
            if (visible_keys(s, end - 1) <= first_key) continue;
            ++sum.tiles;
            sum.keys += static_cast<std::uint64_t>(end - first);
        }
    }
    return sum;
}

/// The values do not matter for what is counted.
inline void fill_rows(HalfProblem<simt::Bfloat16>& p) {
    p.lse = emulator::GlobalArray<float>(p.lse.size(), 1.0F);
    p.row_sums = p.lse;
}

inline void expect_clean(const emulator::Counters& counters) {
    EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
    EXPECT_EQ(counters.shared_store.extra_wavefronts, 0U);
    EXPECT_EQ(32 * counters.global_load.sectors, counters.global_load.bytes);
    EXPECT_EQ(32 * counters.global_store.sectors, counters.global_store.bytes);
    EXPECT_EQ(counters.global_atomic.requests, 0U);
}

/// mma instructions of a product of a query tile and a key tile over head_dim, or the like.
inline std::uint64_t tile_products(int query_tile, int key_tile, int head_dim) {
    return static_cast<std::uint64_t>(query_tile / 16) * static_cast<std::uint64_t>(key_tile / 8) *
           static_cast<std::uint64_t>(head_dim / 16);
}

}  // namespace isoflop::test
