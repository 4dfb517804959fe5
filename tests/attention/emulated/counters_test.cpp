// What the kernels do to memory, in the tile shapes of the table: no bank conflicts, whole sectors,
// every tile once, no tile that the mask hides.
#include "attention/emulated/counted_visits.hpp"
#include "attention/flash_attn_2/block_shapes.hpp"

namespace isoflop::test {
namespace {

using kernels::TileShape;
using simt::Bfloat16;

template <int head_dim>
struct HeadDim {
    static constexpr int value = head_dim;
    static constexpr TileShape forward = kernels::tile_for(kernels::kForwardTiles, head_dim);
    static constexpr TileShape query = kernels::tile_for(kernels::kQueryGradientTiles, head_dim);
    static constexpr TileShape key = kernels::tile_for(kernels::kKeyGradientTiles, head_dim);
    using Forward = kernels::ForwardConfig<Bfloat16, head_dim, forward.query_tile, forward.key_tile,
                                           forward.warps>;
    using Query = kernels::QueryGradientConfig<Bfloat16, head_dim, query.query_tile, query.key_tile,
                                               query.warps>;
    static constexpr TileShape atomic = kernels::tile_for(kernels::kAtomicTiles, head_dim);
    template <kernels::KeyGradients results>
    using Key = kernels::KeyGradientsConfig<Bfloat16, head_dim, key.query_tile, key.key_tile,
                                            key.warps, results>;
    using Atomic =
        kernels::KeyGradientsConfig<Bfloat16, head_dim, atomic.query_tile, atomic.key_tile,
                                    atomic.warps,
                                    head_dim <= 128 ? kernels::KeyGradients::both_and_queries
                                                    : kernels::KeyGradients::of_keys_and_queries>;
};

template <class T>
class FlashAttn2Counters : public testing::Test {};
using HeadDims = testing::Types<HeadDim<32>, HeadDim<64>, HeadDim<96>, HeadDim<128>, HeadDim<256>>;
TYPED_TEST_SUITE(FlashAttn2Counters, HeadDims);

TYPED_TEST(FlashAttn2Counters, ForwardReadsEachVisibleTileOnce) {
    using C = typename TypeParam::Forward;
    for (const bool causal : {false, true}) {
        const Shape s = counted_shape(TypeParam::value, causal);
        HalfProblem<Bfloat16> p(s);
        emulator::Session session;
        launch_forward<C>(p);
        const auto& counters = session.counters();
        expect_clean(counters);
        const Visits per_head = visits(s, C::query_tile, C::key_tile);
        const auto heads = static_cast<std::uint64_t>(s.heads);
        const auto rows = static_cast<std::uint64_t>(s.query_length);
        const std::uint64_t row_bytes = 2 * TypeParam::value;
        EXPECT_EQ(counters.global_load.bytes, heads * (rows + 2 * per_head.keys) * row_bytes);
        EXPECT_EQ(counters.global_store.bytes, heads * rows * (row_bytes + sizeof(float)));
        EXPECT_EQ(counters.matrix_products,
                  heads * per_head.tiles * 2 *
                      tile_products(C::query_tile, C::key_tile, TypeParam::value));
        EXPECT_EQ(counters.block_barriers, heads * per_head.tiles * 2);
    }
}

TYPED_TEST(FlashAttn2Counters, QueryGradientReadsEachVisibleTileOnce) {
    using C = typename TypeParam::Query;
    for (const bool causal : {false, true}) {
        const Shape s = counted_shape(TypeParam::value, causal);
        HalfProblem<Bfloat16> p(s);
        fill_rows(p);
        emulator::Session session;
        launch_query_gradient<C>(p);
        const auto& counters = session.counters();
        EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
        EXPECT_EQ(counters.shared_store.extra_wavefronts, 0U);
        const Visits per_head = visits(s, C::query_tile, C::key_tile);
        const auto heads = static_cast<std::uint64_t>(s.heads);
        const auto rows = static_cast<std::uint64_t>(s.query_length);
        const std::uint64_t row_bytes = 2 * TypeParam::value;
        // The four lanes of a quad ask for lse and sum of the same row.
        EXPECT_EQ(counters.global_load.bytes,
                  heads * ((2 * rows + 2 * per_head.keys) * row_bytes + rows * 4 * 8));
        EXPECT_EQ(counters.global_load.sectors * 32,
                  heads * ((2 * rows + 2 * per_head.keys) * row_bytes + rows * 8));
        EXPECT_EQ(counters.global_store.bytes, heads * rows * row_bytes);
        EXPECT_EQ(32 * counters.global_store.sectors, counters.global_store.bytes);
        EXPECT_EQ(counters.matrix_products,
                  heads * per_head.tiles * 3 *
                      tile_products(C::query_tile, C::key_tile, TypeParam::value));
        EXPECT_EQ(counters.block_barriers, heads * per_head.tiles);
    }
}

template <class C>
void check_key_gradients(const Shape& s, std::uint64_t products) {
    HalfProblem<Bfloat16> p(s);
    fill_rows(p);
    emulator::Session session;
    launch_key_gradients<C>(p);
    const auto& counters = session.counters();
    expect_clean(counters);
    const Visits per_head = query_visits(s, C::query_tile, C::key_tile);
    const auto heads = static_cast<std::uint64_t>(s.heads);
    const auto keys = static_cast<std::uint64_t>(s.kv_heads * s.key_length);
    const std::uint64_t row_bytes = 2 * C::head_dim;
    EXPECT_EQ(counters.global_load.bytes,
              heads * per_head.keys * (2 * row_bytes + 8) + keys * 2 * row_bytes);
    EXPECT_EQ(counters.global_store.bytes, keys * row_bytes * (C::of_keys + C::of_values));
    EXPECT_EQ(counters.matrix_products, heads * per_head.tiles * products *
                                            tile_products(C::query_tile, C::key_tile, C::head_dim));
    EXPECT_EQ(counters.block_barriers, heads * per_head.tiles);
}

TYPED_TEST(FlashAttn2Counters, KeyGradientsReadEachVisibleTileOnce) {
    for (const bool causal : {false, true}) {
        const Shape s = counted_shape(TypeParam::value, causal);
        if constexpr (TypeParam::value <= 128) {
            check_key_gradients<typename TypeParam::template Key<kernels::KeyGradients::both>>(s,
                                                                                               4);
        } else {
            check_key_gradients<typename TypeParam::template Key<kernels::KeyGradients::of_values>>(
                s, 2);
            check_key_gradients<typename TypeParam::template Key<kernels::KeyGradients::of_keys>>(
                s, 3);
        }
    }
}

TYPED_TEST(FlashAttn2Counters, AtomicPassAddsEachProductOnce) {
    using C = typename TypeParam::Atomic;
    const Shape s = counted_shape(TypeParam::value, true);
    HalfProblem<Bfloat16> p(s);
    fill_rows(p);
    emulator::GlobalArray<float> sums(p.lse.size() * TypeParam::value);
    emulator::Session session;
    launch_key_gradients<C>(p, sums);
    const auto& counters = session.counters();
    EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
    EXPECT_EQ(counters.shared_store.extra_wavefronts, 0U);
    const Visits per_head = query_visits(s, C::query_tile, C::key_tile);
    const auto heads = static_cast<std::uint64_t>(s.heads);
    EXPECT_EQ(counters.global_atomic.bytes, heads * per_head.keys * 4 * C::head_dim);
    EXPECT_EQ(counters.matrix_products, heads * per_head.tiles * (C::of_values ? 5 : 4) *
                                            tile_products(C::query_tile, C::key_tile, C::head_dim));
    EXPECT_EQ(counters.block_barriers,
              heads * per_head.tiles * 2 +
                  static_cast<std::uint64_t>(tiles_of(s.key_length, C::key_tile)));
}

TYPED_TEST(FlashAttn2Counters, RowSumsReadEachRowOnce) {
    HalfProblem<Bfloat16> p(make_shape(40, 8, TypeParam::value));
    emulator::Session session;
    launch_row_sums<Bfloat16, TypeParam::value>(p);
    EXPECT_EQ(session.counters().global_load.bytes, 80U * 4 * TypeParam::value);
    EXPECT_EQ(32 * session.counters().global_load.sectors, session.counters().global_load.bytes);
}

TYPED_TEST(FlashAttn2Counters, SumsOfQueryGradientsMoveInWholeSectors) {
    HalfProblem<Bfloat16> p(make_shape(40, 8, TypeParam::value));
    const std::uint64_t elements = 80 * TypeParam::value;
    emulator::GlobalArray<float> sums(elements);
    const auto stored_with = [&](simt::Global<float> cleared) {
        emulator::Session session;
        launch_row_sums<Bfloat16, TypeParam::value>(p, cleared);
        return session.counters().global_store;
    };
    const auto with = stored_with(sums);
    const auto without = stored_with(nullptr);
    EXPECT_EQ(with.bytes - without.bytes, 4 * elements);
    EXPECT_EQ(32 * (with.sectors - without.sectors), 4 * elements);
    emulator::Session session;
    launch_round<Bfloat16, TypeParam::value>(p, sums);
    const auto& counters = session.counters();
    EXPECT_EQ(counters.global_load.bytes, 4 * elements);
    EXPECT_EQ(32 * counters.global_load.sectors, counters.global_load.bytes);
    EXPECT_EQ(counters.global_store.bytes, 2 * elements);
    EXPECT_EQ(32 * counters.global_store.sectors, counters.global_store.bytes);
}

}  // namespace
}  // namespace isoflop::test
