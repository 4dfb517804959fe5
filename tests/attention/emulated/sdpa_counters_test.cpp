// What the kernels of sdpa do to memory, in the tile shapes of the table: no bank conflicts, whole
// sectors, every tile of keys once for each block, sums saved and restored once between two tiles.
#include "attention/emulated/counted_visits.hpp"
#include "attention/emulated/launch_sdpa.hpp"
#include "attention/sdpa/block_shapes.hpp"

namespace isoflop::test {
namespace {

using attention::tensor_cores::KeyGradients;
using attention::tensor_cores::TileShape;
using simt::Bfloat16;

template <int head_dim>
struct HeadDim {
    static constexpr int value = head_dim;
    static constexpr TileShape forward = sdpa::tile_for(sdpa::kForwardTiles, head_dim);
    static constexpr TileShape backward = sdpa::tile_for(sdpa::kBackwardTiles, head_dim);
    using Forward = sdpa::ForwardConfig<Bfloat16, head_dim, forward.query_tile, forward.key_tile,
                                        forward.warps>;
    template <KeyGradients results>
    using Backward = sdpa::BackwardConfig<Bfloat16, head_dim, backward.query_tile,
                                          backward.key_tile, backward.warps, results>;
};

template <class T>
class SdpaCounters : public testing::Test {};
using HeadDims = testing::Types<HeadDim<32>, HeadDim<64>, HeadDim<96>, HeadDim<128>, HeadDim<256>>;
TYPED_TEST_SUITE(SdpaCounters, HeadDims);

std::uint64_t number(std::int64_t value) {
    return static_cast<std::uint64_t>(value);
}

TYPED_TEST(SdpaCounters, ForwardMeetsEachVisibleTileOnce) {
    using C = typename TypeParam::Forward;
    for (const bool causal : {false, true}) {
        const Shape s = counted_shape(TypeParam::value, causal);
        HalfProblem<Bfloat16> p(s);
        emulator::Session session;
        launch_sdpa_forward<C>(p);
        const auto& counters = session.counters();
        expect_clean(counters);
        const Visits of_queries = query_visits(s, C::warp_rows, C::key_tile);
        const std::uint64_t between =
            of_queries.tiles - number(tiles_of(s.query_length, C::warp_rows));
        const Visits of_blocks = visits(s, C::chunk, C::key_tile);
        const std::uint64_t row_bytes = 2 * TypeParam::value;
        const std::uint64_t waiting_bytes = between * C::turn_floats * sizeof(float);
        const std::uint64_t heads = number(s.heads);
        EXPECT_EQ(counters.global_load.bytes,
                  heads * ((of_queries.keys + 2 * of_blocks.keys) * row_bytes + waiting_bytes));
        EXPECT_EQ(counters.global_store.bytes,
                  heads * (number(s.query_length) * (row_bytes + sizeof(float)) + waiting_bytes));
        EXPECT_EQ(counters.matrix_products,
                  heads * of_queries.tiles * 2 *
                      tile_products(C::warp_rows, C::key_tile, TypeParam::value));
        EXPECT_EQ(counters.block_barriers, heads * of_blocks.tiles * 2);
    }
}

template <class C>
void check_backward(const Shape& s, std::uint64_t products) {
    HalfProblem<Bfloat16> p(s);
    fill_rows(p);
    emulator::Session session;
    launch_sdpa_backward<C>(p);
    const auto& counters = session.counters();
    expect_clean(counters);
    const Visits per_head = query_visits(s, C::query_tile, C::key_tile);
    const std::uint64_t heads = number(s.heads);
    const std::uint64_t keys = number(s.kv_heads * s.key_length);
    const std::uint64_t row_bytes = 2 * C::head_dim;
    std::uint64_t waiting_bytes = 0;
    std::uint64_t d_q_bytes = 0;
    if (C::of_keys) {
        const auto tiles = number(tiles_of(s.query_length, C::query_tile));
        waiting_bytes = heads * (per_head.tiles - tiles) * C::tile_floats * sizeof(float);
        d_q_bytes = heads * number(s.query_length) * row_bytes;
    }
    EXPECT_EQ(counters.global_load.bytes, heads * per_head.keys * (2 * row_bytes + 8) +
                                              keys * row_bytes * (1 + C::of_keys) + waiting_bytes);
    EXPECT_EQ(counters.global_store.bytes,
              keys * row_bytes * (C::of_keys + C::of_values) + d_q_bytes + waiting_bytes);
    EXPECT_EQ(counters.matrix_products, heads * per_head.tiles * products *
                                            tile_products(C::query_tile, C::key_tile, C::head_dim));
    EXPECT_EQ(counters.block_barriers,
              (1 + C::of_keys) * (heads * per_head.tiles +
                                  number(s.kv_heads * tiles_of(s.key_length, C::key_tile))));
}

TYPED_TEST(SdpaCounters, BackwardMeetsEachVisibleTileOnce) {
    for (const bool causal : {false, true}) {
        const Shape s = counted_shape(TypeParam::value, causal);
        if constexpr (TypeParam::value <= 128) {
            check_backward<typename TypeParam::template Backward<KeyGradients::both>>(s, 5);
        } else {
            check_backward<typename TypeParam::template Backward<KeyGradients::of_values>>(s, 2);
            check_backward<typename TypeParam::template Backward<KeyGradients::of_keys>>(s, 4);
        }
    }
}

}  // namespace
}  // namespace isoflop::test
