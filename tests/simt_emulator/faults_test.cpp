// Each detector: a kernel with a planted bug that it catches in every scheduling order, and the
// same kernel without.
#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Global;
using simt::Shared;

// ---- Races

/// Every thread takes the value of the next one.
template <bool barrier>
SIMT_KERNEL void rotate(Global<float> values) {
    SIMT_SHARED_ARRAY(float, tile, 64);
    const int i = simt::thread_index().x;
    simt::store(tile + i, simt::load(values + i));
    if (barrier) simt::sync_threads();
    simt::store(values + i, simt::load(tile + (i + 1) % 64));
}

TEST(Faults, ReadWithoutBarrierIsFound) {
    GlobalArray<float> values(64);
    for (const Options& options : all_orders()) {
        const Outcome outcome = outcome_of(options, [&] {
            simt::launch({.name = "rotate", .block = {64}}, rotate<false>, values);
        });
        // A read that comes first finds unwritten memory, one that comes later a race.
        ASSERT_TRUE(outcome.kind == FaultKind::shared_race ||
                    outcome.kind == FaultKind::unwritten_read);
    }
    expect_no_fault([&] { simt::launch({.name = "rotate", .block = {64}}, rotate<true>, values); });
}

/// Two rounds over one tile; without the barrier at the end a fast warp overwrites what a slow one
/// still reads.
template <bool barrier>
SIMT_KERNEL void two_rounds(Global<int> sums) {
    SIMT_SHARED_ARRAY(int, tile, 64);
    const int i = simt::thread_index().x;
    int sum = 0;
    for (int round = 0; round < 2; ++round) {
        simt::store(tile + i, i + round);
        simt::sync_threads();
        sum += simt::load(tile + (i + 32) % 64);
        if (barrier) simt::sync_threads();
    }
    simt::store(sums + i, sum);
}

TEST(Faults, OverwriteWithoutBarrierIsFound) {
    GlobalArray<int> sums(64);
    expect_fault(FaultKind::shared_race,
                 {"kernel two_rounds", "block (0, 0, 0)", "of tile", "no barrier in between"}, [&] {
                     simt::launch({.name = "two_rounds", .block = {64}}, two_rounds<false>, sums);
                 });
    expect_no_fault(
        [&] { simt::launch({.name = "two_rounds", .block = {64}}, two_rounds<true>, sums); });
}

template <bool one_writer>
SIMT_KERNEL void set_flag(Global<int> out) {
    SIMT_SHARED_ARRAY(int, flag, 1);
    if (!one_writer || simt::thread_index().x == 0) simt::store(flag, 1);
    simt::sync_threads();
    simt::store(out + simt::thread_index().x, simt::load(flag));
}

TEST(Faults, TwoWritersOfOneValueAreFound) {
    GlobalArray<int> out(64);
    expect_fault(FaultKind::shared_race, {"writes byte 0 of flag", "wrote it"},
                 [&] { simt::launch({.name = "set_flag", .block = {64}}, set_flag<false>, out); });
    expect_no_fault(
        [&] { simt::launch({.name = "set_flag", .block = {64}}, set_flag<true>, out); });
}

/// Lanes of one warp exchange through shared memory; only sync_warp orders them, a shuffle does
/// not.
template <bool with_sync>
SIMT_KERNEL void exchange_in_warp(Global<int> out) {
    SIMT_SHARED_ARRAY(int, tile, 64);
    const int i = simt::thread_index().x;
    const int partner = i ^ 1;
    simt::store(tile + i, i);
    if (with_sync) {
        simt::sync_warp();
    } else {
        simt::shuffle_xor(i, 1);
    }
    simt::store(out + i, simt::load(tile + partner));
}

TEST(Faults, ShuffleDoesNotOrderMemory) {
    GlobalArray<int> out(64);
    expect_fault(FaultKind::shared_race, {"reads byte", "wrote it"}, [&] {
        simt::launch({.name = "exchange", .block = {64}}, exchange_in_warp<false>, out);
    });
    expect_no_fault(
        [&] { simt::launch({.name = "exchange", .block = {64}}, exchange_in_warp<true>, out); });
}

/// sync_warp does not order other warps.
SIMT_KERNEL void wrong_scope(Global<int> out) {
    SIMT_SHARED_ARRAY(int, tile, 64);
    const int i = simt::thread_index().x;
    simt::store(tile + i, i);
    simt::sync_warp();
    simt::store(out + i, simt::load(tile + i));
    simt::store(tile + (i + 32) % 64, i);
}

TEST(Faults, WarpBarrierForTheBlockIsFound) {
    GlobalArray<int> out(64);
    expect_fault(FaultKind::shared_race, {"writes byte"},
                 [&] { simt::launch({.name = "wrong_scope", .block = {64}}, wrong_scope, out); });
}

/// Warp 0 produces, warp 1 consumes; each waits for the other at a named barrier.
enum class Release { after_reading, too_early, never };

template <Release release>
SIMT_KERNEL void producer_consumer(Global<int> out) {
    SIMT_SHARED_ARRAY(int, tile, 32);
    constexpr int full = 1;
    constexpr int empty = 2;
    const int lane = simt::lane_index();
    int sum = 0;
    for (int round = 0; round < 3; ++round) {
        if (simt::warp_index() == 0) {
            if (release != Release::never && round > 0) simt::sync_barrier(empty, 64);
            simt::store(tile + lane, lane + round);
            simt::arrive_barrier(full, 64);
        } else {
            simt::sync_barrier(full, 64);
            if (release == Release::too_early && round < 2) simt::arrive_barrier(empty, 64);
            sum += simt::load(tile + (lane + 1) % 32);
            if (release == Release::after_reading && round < 2) simt::arrive_barrier(empty, 64);
        }
    }
    if (simt::warp_index() == 1) simt::store(out + lane, sum);
}

TEST(Faults, NamedBarriersOrderTheirThreads) {
    GlobalArray<int> out(32);
    const simt::Launch how{.name = "pipeline", .block = {64}};
    expect_fault(FaultKind::shared_race, {"of tile"},
                 [&] { simt::launch(how, producer_consumer<Release::too_early>, out); });
    expect_fault(FaultKind::barrier_divergence, {"barrier 1", "has arrived already"},
                 [&] { simt::launch(how, producer_consumer<Release::never>, out); });
    expect_no_fault([&] { simt::launch(how, producer_consumer<Release::after_reading>, out); });
    EXPECT_EQ(out[0], 1 + 2 + 3);
}

template <bool atomic>
SIMT_KERNEL void count_in_shared(Global<int> out) {
    SIMT_SHARED_ARRAY(int, counter, 1);
    if (simt::thread_index().x == 0) simt::store(counter, 0);
    simt::sync_threads();
    if (atomic) {
        simt::atomic_add(counter, 1);
    } else {
        simt::store(counter, simt::load(counter) + 1);
    }
    simt::sync_threads();
    if (simt::thread_index().x == 0) simt::store(out, simt::load(counter));
}

TEST(Faults, PlainIncrementsRaceAndAtomicOnesDoNot) {
    GlobalArray<int> out(1);
    expect_fault(FaultKind::shared_race, {"of counter"}, [&] {
        simt::launch({.name = "count", .block = {96}}, count_in_shared<false>, out);
    });
    expect_no_fault(
        [&] { simt::launch({.name = "count", .block = {96}}, count_in_shared<true>, out); });
    EXPECT_EQ(out[0], 96);
}

SIMT_KERNEL void read_beside_atomics(Global<int> out) {
    SIMT_SHARED_ARRAY(int, counter, 1);
    if (simt::thread_index().x == 0) simt::store(counter, 0);
    simt::sync_threads();
    simt::atomic_add(counter, 1);
    simt::store(out + simt::thread_index().x, simt::load(counter));
}

TEST(Faults, ReadBesideAtomicsIsARace) {
    GlobalArray<int> out(64);
    expect_fault(FaultKind::shared_race, {"of counter"}, [&] {
        simt::launch({.name = "beside", .block = {64}}, read_beside_atomics, out);
    });
}

// ---- Memory

template <int written>
SIMT_KERNEL void partly_written(Global<float> out) {
    SIMT_SHARED_ARRAY(float, tile, 64);
    const int i = simt::thread_index().x;
    if (i < written) simt::store(tile + i, 1.0F);
    simt::sync_threads();
    simt::store(out + i, simt::load(tile + i));
}

TEST(Faults, UnwrittenSharedMemoryIsFoundInEveryBlock) {
    GlobalArray<float> out(64);
    expect_fault(FaultKind::unwritten_read,
                 {"thread (63, 0, 0) (warp 1, lane 31)", "byte 252 of tile"}, [&] {
                     simt::launch({.name = "partly", .grid = {3}, .block = {64}},
                                  partly_written<63>, out);
                 });
    expect_no_fault([&] {
        simt::launch({.name = "partly", .grid = {3}, .block = {64}}, partly_written<64>, out);
    });
}

/// What one block has written is nothing that another may read.
SIMT_KERNEL void rely_on_earlier_block(Global<float> out) {
    SIMT_SHARED_ARRAY(float, tile, 32);
    const int i = simt::thread_index().x;
    if (simt::block_index().x == 0) simt::store(tile + i, 1.0F);
    simt::store(out + i, simt::load(tile + i));
}

TEST(Faults, SharedMemoryOfAnEarlierBlockIsUnwritten) {
    GlobalArray<float> out(32);
    expect_fault(FaultKind::unwritten_read, {"of tile"}, [&] {
        simt::launch({.name = "rely", .grid = {4}, .block = {32}}, rely_on_earlier_block, out);
    });
}

template <int shift>
SIMT_KERNEL void shifted(Global<float> out) {
    SIMT_SHARED_ARRAY(float, first, 32);
    SIMT_SHARED_ARRAY(float, second, 32);
    const int i = simt::thread_index().x;
    simt::store(second + i, 1.0F);
    simt::store(first + (i + shift), 2.0F);
    simt::store(out + i, simt::load(second + i));
}

TEST(Faults, AccessOutsideItsArrayIsFound) {
    GlobalArray<float> out(32);
    expect_fault(FaultKind::out_of_bounds,
                 {"thread (31, 0, 0)", "4 bytes at byte 128 of first, which has 128"},
                 [&] { simt::launch({.name = "shifted", .block = {32}}, shifted<1>, out); });
    // So far off that it lands in another array, or before.
    for (const int shift : {64, -1}) {
        expect_fault(FaultKind::out_of_bounds, {"of first"}, [&] {
            simt::launch({.name = "shifted", .block = {32}}, shift > 0 ? shifted<64> : shifted<-1>,
                         out);
        });
    }
    expect_no_fault([&] { simt::launch({.name = "shifted", .block = {32}}, shifted<0>, out); });
}

SIMT_KERNEL void two_parts(Global<float> out, int first_elements) {
    const auto first = simt::dynamic_shared<float>(0, 32);
    const auto second = simt::dynamic_shared<float>(32 * 4, 32);
    const int i = simt::thread_index().x;
    if (i < first_elements) simt::store(first + i, 1.0F);
    simt::store(second + i % 32, 2.0F);
    if (i < 32) simt::store(out + i, simt::load(second + i));
}

TEST(Faults, PartsOfDynamicSharedMemoryHaveBounds) {
    GlobalArray<float> out(32);
    expect_fault(
        FaultKind::out_of_bounds, {"at byte 128 of dynamic shared memory[bytes 0..+128]"}, [&] {
            simt::launch({.name = "parts", .block = {33}, .shared_bytes = 256}, two_parts, out, 33);
        });
    expect_fault(FaultKind::out_of_bounds, {"dynamic shared memory, which has 255"}, [&] {
        simt::launch({.name = "parts", .block = {32}, .shared_bytes = 255}, two_parts, out, 32);
    });
    expect_no_fault([&] {
        simt::launch({.name = "parts", .block = {32}, .shared_bytes = 256}, two_parts, out, 32);
    });
}

SIMT_KERNEL void double_values(Global<float> values, int count) {
    const int i = simt::block_index().x * simt::block_size().x + simt::thread_index().x;
    if (i < count) simt::store(values + i, 2.0F * simt::load(values + i));
}

TEST(Faults, GlobalAccessOutsideItsArrayIsFound) {
    GlobalArray<float> values(100);
    expect_fault(FaultKind::out_of_bounds,
                 {"block (3, 0, 0), thread (4, 0, 0)", "4 bytes at byte 400 of global memory"},
                 [&] {
                     simt::launch({.name = "double", .grid = {4}, .block = {32}}, double_values,
                                  values, 101);
                 });
    expect_no_fault([&] {
        simt::launch({.name = "double", .grid = {4}, .block = {32}}, double_values, values, 100);
    });
}

SIMT_KERNEL void copy_vectors(Global<float> to, Global<const float> from, int shift) {
    SIMT_SHARED_ARRAY(float, tile, 136);
    const int i = 4 * simt::thread_index().x;
    simt::store_vector(tile + i, simt::load_vector(from + (i + shift)));
    simt::store_vector(to + i, simt::load_vector(tile + i));
}

TEST(Faults, MisalignedVectorsAreFound) {
    GlobalArray<float> to(128);
    const GlobalArray<float> from(136, 3.0F);
    expect_fault(FaultKind::misaligned, {"16 bytes", "4 bytes past a multiple"},
                 [&] { simt::launch({.name = "copy", .block = {32}}, copy_vectors, to, from, 1); });
    expect_no_fault(
        [&] { simt::launch({.name = "copy", .block = {32}}, copy_vectors, to, from, 4); });
    EXPECT_EQ(to[127], 3.0F);
}

TEST(Faults, ImpossibleLaunchesAreRefused) {
    GlobalArray<float> values(1);
    const auto kind = [&](const simt::Launch& how) {
        return outcome_of({}, [&] { simt::launch(how, double_values, values, 0); }).kind;
    };
    EXPECT_EQ(kind({.block = {1025}}), FaultKind::unsupported_launch);
    EXPECT_EQ(kind({.grid = {0}, .block = {32}}), FaultKind::unsupported_launch);
    EXPECT_EQ(kind({.grid = {1, 65536}, .block = {32}}), FaultKind::unsupported_launch);
    EXPECT_EQ(kind({.block = {32}, .shared_bytes = 227 * 1024 + 1}), FaultKind::unsupported_launch);
    EXPECT_EQ(kind({.block = {32}, .shared_bytes = 227 * 1024}), std::nullopt);
}

}  // namespace
}  // namespace isoflop::emulator
