// Barriers and warp collectives that not all of their threads reach.
#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Global;

SIMT_KERNEL void leave_early(Global<int> out, int count) {
    const int i = simt::thread_index().x;
    if (i >= count) return;
    simt::sync_threads();
    simt::store(out + i, i);
}

TEST(Barriers, ThreadThatHasLeftIsMissed) {
    GlobalArray<int> out(64);
    expect_fault(FaultKind::barrier_divergence, {"kernel early", "sync_threads"},
                 [&] { simt::launch({.name = "early", .block = {64}}, leave_early, out, 63); });
    expect_no_fault([&] { simt::launch({.name = "early", .block = {64}}, leave_early, out, 64); });
}

SIMT_KERNEL void two_branches(int limit) {
    if (simt::thread_index().x < limit) {
        simt::sync_threads();
    } else {
        simt::sync_threads();
    }
}

TEST(Barriers, DifferentBarriersAreDivergence) {
    expect_fault(FaultKind::barrier_divergence, {"waits at another one"},
                 [&] { simt::launch({.name = "branches", .block = {64}}, two_branches, 32); });
    expect_no_fault([&] { simt::launch({.name = "branches", .block = {64}}, two_branches, 64); });
}

SIMT_KERNEL void wait_for_all_at_named(int count, int threads) {
    if (simt::thread_index().x < count) simt::sync_barrier(3, threads);
}

TEST(Barriers, CountThatNeverComesIsReported) {
    expect_fault(
        FaultKind::barrier_divergence,
        {"barrier 3 waits for 96 threads, and only 64 come", "(64, 0, 0)", "has left the kernel"},
        [&] { simt::launch({.name = "named", .block = {128}}, wait_for_all_at_named, 64, 96); });
    expect_no_fault(
        [&] { simt::launch({.name = "named", .block = {128}}, wait_for_all_at_named, 96, 96); });
    expect_fault(FaultKind::barrier_divergence, {"barrier 3 for 33 threads"}, [&] {
        simt::launch({.name = "named", .block = {128}}, wait_for_all_at_named, 33, 33);
    });
}

SIMT_KERNEL void different_counts() {
    simt::sync_barrier(1, simt::warp_index() == 0 ? 64 : 128);
}

TEST(Barriers, CountsMustAgree) {
    expect_fault(FaultKind::barrier_divergence, {"others wait there for"},
                 [&] { simt::launch({.name = "counts", .block = {128}}, different_counts); });
}

/// A barrier inside a loop that some threads leave earlier.
SIMT_KERNEL void uneven_rounds(int more) {
    const int rounds = simt::warp_index() == 0 ? 2 + more : 2;
    for (int round = 0; round < rounds; ++round) simt::sync_threads();
}

TEST(Barriers, UnevenRoundsAreDivergence) {
    expect_fault(FaultKind::barrier_divergence, {"sync_threads"},
                 [&] { simt::launch({.name = "uneven", .block = {64}}, uneven_rounds, 1); });
    expect_no_fault([&] { simt::launch({.name = "uneven", .block = {64}}, uneven_rounds, 0); });
}

// ---- Warp collectives

SIMT_KERNEL void sum_of_some(Global<int> out, int lanes, std::uint32_t mask) {
    const int i = simt::thread_index().x;
    if (i >= lanes) return;
    simt::store(out + i, simt::shuffle_xor(i, 1, 32, mask));
}

TEST(Collectives, LaneThatHasLeftIsMissed) {
    GlobalArray<int> out(32);
    expect_fault(FaultKind::absent_lanes, {"kernel some", "shuffle_xor", "lane"}, [&] {
        simt::launch({.name = "some", .block = {32}}, sum_of_some, out, 16, simt::all_lanes);
    });
    expect_no_fault(
        [&] { simt::launch({.name = "some", .block = {32}}, sum_of_some, out, 16, 0xFFFFU); });
}

TEST(Collectives, LaneOutsideItsMaskIsFound) {
    GlobalArray<int> out(32);
    expect_fault(FaultKind::absent_lanes, {"shuffle_xor"}, [&] {
        simt::launch({.name = "some", .block = {32}}, sum_of_some, out, 32, 0xFFFFU);
    });
}

TEST(Collectives, LanesThatDoNotExistAreFound) {
    GlobalArray<int> out(32);
    expect_fault(FaultKind::absent_lanes, {"the block has lanes 0x0000ffff only"}, [&] {
        simt::launch({.name = "some", .block = {16}}, sum_of_some, out, 16, simt::all_lanes);
    });
}

SIMT_KERNEL void branches_of_a_warp(Global<int> out, int limit) {
    const int i = simt::thread_index().x;
    int value = 0;
    if (i < limit) {
        value = simt::shuffle(i, 0);
    } else {
        value = simt::shuffle(i, 1);
    }
    simt::store(out + i, value);
}

TEST(Collectives, DifferentPlacesAreFound) {
    GlobalArray<int> out(32);
    expect_fault(FaultKind::absent_lanes,
                 {"shuffle with mask 0xffffffff, while", "waits in shuffle"},
                 [&] { simt::launch({.name = "two", .block = {32}}, branches_of_a_warp, out, 7); });
    expect_no_fault(
        [&] { simt::launch({.name = "two", .block = {32}}, branches_of_a_warp, out, 32); });
}

SIMT_KERNEL void barrier_against_shuffle(int limit) {
    if (simt::thread_index().x < limit) simt::vote_any(true);
    simt::sync_threads();
}

TEST(Collectives, LaneAtABarrierIsMissed) {
    expect_fault(
        FaultKind::absent_lanes, {"vote_any waits for thread (5, 0, 0)", "waits at barrier 0"},
        [&] { simt::launch({.name = "mixed", .block = {32}}, barrier_against_shuffle, 5); });
    expect_no_fault(
        [&] { simt::launch({.name = "mixed", .block = {32}}, barrier_against_shuffle, 32); });
}

SIMT_KERNEL void read_lane(int source, std::uint32_t mask) {
    if ((mask >> static_cast<unsigned>(simt::lane_index()) & 1U) != 0) {
        simt::shuffle(1.0F, source, 32, mask);
    }
}

TEST(Collectives, ReadingALaneOutsideTheMaskIsFound) {
    expect_fault(FaultKind::absent_lanes, {"shuffle from lane 20"},
                 [&] { simt::launch({.name = "read", .block = {32}}, read_lane, 20, 0xFFFFU); });
    expect_no_fault([&] { simt::launch({.name = "read", .block = {32}}, read_lane, 12, 0xFFFFU); });
}

}  // namespace
}  // namespace isoflop::emulator
