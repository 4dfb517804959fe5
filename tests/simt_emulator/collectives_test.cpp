// What barriers, shuffles, votes and atomics compute, and that no order of threads changes it.
#include <numeric>

#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Global;

SIMT_KERNEL void all_shuffles(Global<int> out, int operand, int width) {
    const int lane = simt::lane_index();
    simt::store(out + lane, simt::shuffle(lane, operand, width));
    simt::store(out + (32 + lane), simt::shuffle_up(lane, operand, width));
    simt::store(out + (64 + lane), simt::shuffle_down(lane, operand, width));
    simt::store(out + (96 + lane), simt::shuffle_xor(lane, operand, width));
}

TEST(Collectives, ShufflesFollowTheirDefinition) {
    for (const int width : {8, 16, 32}) {
        for (const int operand : {0, 1, 3, 7}) {
            GlobalArray<int> out(128);
            simt::launch({.name = "shuffles", .block = {32}}, all_shuffles, out, operand, width);
            for (int lane = 0; lane < 32; ++lane) {
                const int first = lane / width * width;
                const int last = first + width - 1;
                const auto i = static_cast<std::size_t>(lane);
                EXPECT_EQ(out[i], first + operand);
                EXPECT_EQ(out[32 + i], lane - operand < first ? lane : lane - operand);
                EXPECT_EQ(out[64 + i], lane + operand > last ? lane : lane + operand);
                EXPECT_EQ(out[96 + i], lane ^ operand);
            }
        }
    }
}

SIMT_KERNEL void shuffle_wide(Global<double> out) {
    const int lane = simt::lane_index();
    simt::store(out + lane, simt::shuffle_down(1.0 / (lane + 1), 1));
}

TEST(Collectives, ShufflesCarry64Bits) {
    GlobalArray<double> out(32);
    simt::launch({.name = "wide", .block = {32}}, shuffle_wide, out);
    EXPECT_EQ(out[0], 1.0 / 2);
    EXPECT_EQ(out[31], 1.0 / 32);
}

SIMT_KERNEL void votes(Global<unsigned> out, int threshold) {
    const int lane = simt::lane_index();
    const bool high = lane >= threshold;
    const std::uint32_t bits = simt::ballot(high);
    const bool any = simt::vote_any(high);
    const bool all = simt::vote_all(high);
    simt::store(out + 3 * lane, bits);
    simt::store(out + (3 * lane + 1), any ? 1U : 0U);
    simt::store(out + (3 * lane + 2), all ? 1U : 0U);
}

TEST(Collectives, VotesCountTheirLanes) {
    GlobalArray<unsigned> out(96);
    simt::launch({.name = "votes", .block = {32}}, votes, out, 30);
    EXPECT_EQ(out[0], 0xC000'0000U);
    EXPECT_EQ(out[1], 1U);
    EXPECT_EQ(out[2], 0U);
    simt::launch({.name = "votes", .block = {32}}, votes, out, 0);
    EXPECT_EQ(out[92], 1U);
    simt::launch({.name = "votes", .block = {32}}, votes, out, 32);
    EXPECT_EQ(out[91], 0U);
}

SIMT_KERNEL void atomics(Global<int> ints, Global<float> floats, Global<unsigned> last) {
    const int i = simt::block_index().x * simt::block_size().x + simt::thread_index().x;
    simt::atomic_add(ints, i);
    simt::atomic_max(ints + 1, i);
    simt::atomic_add(floats, 0.5F);
    // The counter that tells a block that it is the last one.
    unsigned old = simt::load(last);
    for (;;) {
        const unsigned seen = simt::atomic_cas(last, old, old + 1);
        if (seen == old) break;
        old = seen;
    }
}

TEST(Collectives, AtomicsAddUp) {
    for (const Options& options : all_orders()) {
        Session session(options);
        GlobalArray<int> ints(2);
        GlobalArray<float> floats(1);
        GlobalArray<unsigned> last(1);
        simt::launch({.name = "atomics", .grid = {3}, .block = {100}}, atomics, ints, floats, last);
        EXPECT_EQ(ints[0], 299 * 300 / 2);
        EXPECT_EQ(ints[1], 299);
        EXPECT_EQ(floats[0], 150.0F);
        EXPECT_EQ(last[0], 300U);
    }
}

SIMT_KERNEL void positions(Global<int> out) {
    const simt::Dim3 thread = simt::thread_index();
    const simt::Dim3 block = simt::block_index();
    const simt::Dim3 threads = simt::block_size();
    const simt::Dim3 blocks = simt::grid_size();
    const int in_block = (thread.z * threads.y + thread.y) * threads.x + thread.x;
    const int number = (block.z * blocks.y + block.y) * blocks.x + block.x;
    const int i = number * threads.x * threads.y * threads.z + in_block;
    simt::store(out + 2 * i, in_block / 32 == simt::warp_index() ? i : -1);
    simt::store(out + (2 * i + 1), simt::lane_index());
}

TEST(Launches, HaveThreeDimensions) {
    GlobalArray<int> out(2 * 24 * 60, -1);
    simt::launch({.name = "positions", .grid = {4, 3, 2}, .block = {5, 4, 3}}, positions, out);
    for (int i = 0; i < 24 * 60; ++i) {
        EXPECT_EQ(out[static_cast<std::size_t>(2 * i)], i);
        EXPECT_EQ(out[static_cast<std::size_t>(2 * i + 1)], i % 60 % 32);
    }
}

/// A block-wide sum in the usual two steps.
SIMT_DEVICE float block_sum(float value) {
    SIMT_SHARED_ARRAY(float, partial, 32);
    for (int distance = 16; distance > 0; distance /= 2) {
        value += simt::shuffle_xor(value, distance);
    }
    simt::sync_threads();  // those of an earlier call have been read
    if (simt::lane_index() == 0) simt::store(partial + simt::warp_index(), value);
    simt::sync_threads();
    float sum = 0.0F;
    for (int warp = 0; warp < simt::block_size().x / 32; ++warp) sum += simt::load(partial + warp);
    return sum;
}

SIMT_KERNEL void normalise(Global<float> values, int columns) {
    const auto row = values + simt::block_index().x * columns;
    float square_sum = 0.0F;
    for (int i = simt::thread_index().x; i < columns; i += simt::block_size().x) {
        const float value = simt::load(row + i);
        square_sum += value * value;
    }
    const float scale = simt::rsqrt_approximate(block_sum(square_sum));
    for (int i = simt::thread_index().x; i < columns; i += simt::block_size().x) {
        simt::store(row + i, scale * simt::load(row + i));
    }
    const float check = block_sum(1.0F);
    if (check != static_cast<float>(simt::block_size().x)) simt::store(row, 0.0F);
}

TEST(Launches, OrderOfThreadsDoesNotChangeResults) {
    std::vector<float> input(7 * 1001);
    std::iota(input.begin(), input.end(), 1.0F);
    std::vector<std::vector<float>> results;
    std::vector<Counters> counters;
    for (const Options& options : all_orders()) {
        Session session(options);
        GlobalArray<float> values(input);
        simt::launch({.name = "normalise", .grid = {7}, .block = {128}}, normalise, values, 1001);
        results.push_back(values.values());
        counters.push_back(session.counters());
    }
    for (std::size_t i = 1; i < results.size(); ++i) {
        EXPECT_EQ(results[i], results[0]);
        EXPECT_TRUE(counters[i] == counters[0]);
    }
    EXPECT_NEAR(results[0][1000], 1001.0F / std::sqrt(1001.0F * 1002.0F * 2003.0F / 6.0F), 1e-6F);
}

template <int instance>
SIMT_DEVICE simt::Shared<int> scratch() {
    SIMT_SHARED_ARRAY(int, cell, 32);
    return cell;
}

SIMT_KERNEL void use_two_instances(Global<int> out) {
    const int i = simt::thread_index().x;
    simt::store(scratch<0>() + i, 1);
    simt::store(scratch<1>() + i, 2);
    simt::store(out + i, simt::load(scratch<0>() + i) + 10 * simt::load(scratch<1>() + i));
}

TEST(Launches, InstancesOfATemplateHaveTheirOwnSharedMemory) {
    GlobalArray<int> out(32);
    simt::launch({.name = "instances", .block = {32}}, use_two_instances, out);
    EXPECT_EQ(out[31], 21);
}

}  // namespace
}  // namespace isoflop::emulator
