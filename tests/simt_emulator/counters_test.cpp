// Counters on access patterns whose cost is known.
#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Global;

/// Lane i reads the float `stride` i + `offset`.
SIMT_KERNEL void strided(Global<float> out, Global<const float> in, int stride, int offset) {
    const int i = simt::thread_index().x;
    simt::store(out + i, simt::load(in + (stride * i + offset)));
}

Counters strided_counters(int threads, int stride, int offset) {
    const GlobalArray<float> in(4096);
    GlobalArray<float> out(1024);
    Session session;
    simt::launch({.name = "strided", .block = {threads}}, strided, out, in, stride, offset);
    return session.counters();
}

TEST(GlobalCounters, NeighbouringFloatsAreFourSectors) {
    const MemoryCount expected{.requests = 1, .bytes = 128, .sectors = 4};
    const Counters counters = strided_counters(32, 1, 0);
    EXPECT_TRUE(counters.global_load == expected);
    EXPECT_TRUE(counters.global_store == expected);
}

TEST(GlobalCounters, MisplacedStridedAndSharedAddressesHaveTheirPrice) {
    EXPECT_EQ(strided_counters(32, 1, 1).global_load.sectors, 5U);   // one float past a sector
    EXPECT_EQ(strided_counters(32, 2, 0).global_load.sectors, 8U);   // half of each sector unused
    EXPECT_EQ(strided_counters(32, 8, 0).global_load.sectors, 32U);  // a sector for each lane
    EXPECT_EQ(strided_counters(32, 0, 5).global_load.sectors, 1U);   // all lanes the same
    EXPECT_EQ(strided_counters(32, 0, 5).global_load.bytes, 128U);
}

TEST(GlobalCounters, EveryWarpAsksForItself) {
    const Counters counters = strided_counters(128 + 7, 1, 0);
    EXPECT_TRUE(counters.global_load == (MemoryCount{.requests = 5, .bytes = 540, .sectors = 17}));
}

SIMT_KERNEL void vectors(Global<float> out, Global<const float> in) {
    const int i = 4 * simt::thread_index().x;
    simt::store_vector(out + i, simt::load_vector(in + i));
}

TEST(GlobalCounters, VectorsAreOneRequest) {
    const GlobalArray<float> in(128);
    GlobalArray<float> out(128);
    Session session;
    simt::launch({.name = "vectors", .block = {32}}, vectors, out, in);
    const MemoryCount expected{.requests = 1, .bytes = 512, .sectors = 16};
    EXPECT_TRUE(session.counters().global_load == expected);
    EXPECT_TRUE(session.counters().global_store == expected);
}

/// Lanes make different numbers of rounds: lane i makes i % 4.
SIMT_KERNEL void uneven(Global<float> out, Global<const float> in) {
    const int i = simt::thread_index().x;
    float sum = 0.0F;
    for (int round = 0; round < i % 4; ++round) sum += simt::load(in + (32 * round + i));
    simt::store(out + i, sum);
}

TEST(GlobalCounters, RoundsOfDivergedLanesStayApart) {
    const GlobalArray<float> in(128);
    GlobalArray<float> out(32);
    for (const Options& options : all_orders()) {
        Session session(options);
        simt::launch({.name = "uneven", .block = {32}}, uneven, out, in);
        // Rounds 0, 1, 2 of 24, 16, 8 lanes; every sector of 8 lanes is touched in each.
        EXPECT_TRUE(session.counters().global_load ==
                    (MemoryCount{.requests = 3, .bytes = 48 * 4, .sectors = 12}));
        EXPECT_TRUE(session.counters().global_store ==
                    (MemoryCount{.requests = 1, .bytes = 128, .sectors = 4}));
    }
}

/// Each lane writes, then reads the float `stride` i.
SIMT_KERNEL void shared_strided(int stride) {
    SIMT_SHARED_ARRAY(float, tile, 32 * 32);
    const auto cell = tile + stride * simt::thread_index().x;
    simt::store(cell, 1.0F);
    simt::load(cell);
}

SharedCount shared_counters(int stride) {
    Session session;
    simt::launch({.name = "shared", .block = {32}}, shared_strided, stride);
    EXPECT_TRUE(session.counters().shared_load == session.counters().shared_store);
    return session.counters().shared_load;
}

TEST(SharedCounters, LanesOfOneBankWaitForEachOther) {
    const auto count = [](std::uint64_t wavefronts) {
        return SharedCount{.requests = 1,
                           .bytes = 128,
                           .wavefronts = wavefronts,
                           .extra_wavefronts = wavefronts - 1};
    };
    EXPECT_TRUE(shared_counters(1) == count(1));
    EXPECT_TRUE(shared_counters(3) == count(1));  // odd strides reach all banks
    EXPECT_TRUE(shared_counters(2) == count(2));
    EXPECT_TRUE(shared_counters(8) == count(8));
    EXPECT_TRUE(shared_counters(32) == count(32));
}

SIMT_KERNEL void broadcast() {
    SIMT_SHARED_ARRAY(float, tile, 32);
    if (simt::thread_index().x == 0) simt::store(tile + 3, 1.0F);
    simt::sync_threads();
    simt::load(tile + 3);
}

TEST(SharedCounters, OneWordForAllLanesIsNoConflict) {
    Session session;
    simt::launch({.name = "broadcast", .block = {64}}, broadcast);
    EXPECT_EQ(session.counters().shared_load.requests, 2U);
    EXPECT_EQ(session.counters().shared_load.extra_wavefronts, 0U);
    EXPECT_EQ(session.counters().shared_store.requests, 1U);
    EXPECT_EQ(session.counters().block_barriers, 1U);
}

/// 8x8 matrices in rows of 64 elements, in place or with 16-byte chunks swizzled by the row.
template <bool swizzled>
SIMT_KERNEL void matrix_rows() {
    SIMT_SHARED_ARRAY(std::uint16_t, tile, 32 * 64);
    const int lane = simt::lane_index();
    for (int chunk = 0; chunk < 8; ++chunk) {
        simt::store_vector(tile + (64 * lane + 8 * (chunk ^ (swizzled ? lane & 7 : 0))),
                           simt::Vector16<std::uint16_t>{});
    }
    simt::sync_warp();
    std::uint32_t result[4];
    simt::ldmatrix(result, tile + (64 * lane + 8 * (swizzled ? lane & 7 : 0)));
}

TEST(SharedCounters, MatrixRowsConflictUnlessSwizzled) {
    const auto counters = [](void (*kernel)()) {
        Session session;
        simt::launch({.name = "rows", .block = {32}}, kernel);
        return session.counters();
    };
    const Counters linear = counters(matrix_rows<false>);
    EXPECT_TRUE(
        linear.shared_load ==
        (SharedCount{.requests = 1, .bytes = 512, .wavefronts = 32, .extra_wavefronts = 28}));
    EXPECT_EQ(linear.shared_store.extra_wavefronts, 8U * 28U);
    EXPECT_EQ(linear.warp_barriers, 1U);
    const Counters swizzled = counters(matrix_rows<true>);
    EXPECT_TRUE(swizzled.shared_load ==
                (SharedCount{.requests = 1, .bytes = 512, .wavefronts = 4, .extra_wavefronts = 0}));
    EXPECT_EQ(swizzled.shared_store.extra_wavefronts, 0U);
}

}  // namespace
}  // namespace isoflop::emulator
