// The layout of shared memory and what happened before what, without kernels.
#include "simt_emulator/shared_memory.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace isoflop::emulator {
namespace {

TEST(SharedMemory, DamagedRedZonesAreFoundOnBothSides) {
    Clocks clocks;
    SharedMemory memory(clocks);
    const int keys[2] = {};
    const SharedRegion& first = memory.declare(&keys[0], "first", 20);
    const SharedRegion& second = memory.declare(&keys[1], "second", 128);
    EXPECT_EQ(&memory.declare(&keys[0], "first", 20), &first);
    EXPECT_EQ(memory.used_bytes(), 148U);
    EXPECT_EQ(memory.damaged(), nullptr);
    for (const std::size_t byte :
         {first.begin - 1, first.begin + 20, second.begin - 1, second.begin + 128}) {
        const std::byte before = *memory.data(byte);
        *memory.data(byte) = std::byte{0};
        EXPECT_NE(memory.damaged(), nullptr);
        *memory.data(byte) = before;
    }
    *memory.data(first.begin + 19) = std::byte{0};
    EXPECT_EQ(memory.damaged(), nullptr);
}

TEST(Clocks, PartialBarriersOrderOnlyTheirThreads) {
    Clocks clocks;
    clocks.start_block(96);
    const Tick event = clocks.now();
    EXPECT_TRUE(clocks.ordered(5, event, 5));
    EXPECT_FALSE(clocks.ordered(5, event, 40));
    const std::vector<int> arriving = {5, 40};
    const std::vector<int> waiting = {40};
    clocks.synchronise(arriving, waiting);
    EXPECT_TRUE(clocks.ordered(5, event, 40));
    EXPECT_FALSE(clocks.ordered(40, event, 5));  // arriving does not wait
    EXPECT_FALSE(clocks.ordered(5, event, 70));
    const std::vector<int> onwards = {40, 70};
    clocks.synchronise(onwards, onwards);
    EXPECT_TRUE(clocks.ordered(5, event, 70));  // through thread 40
    EXPECT_FALSE(clocks.ordered(5, clocks.now(), 70));
    const Tick later = clocks.now();
    clocks.full_barrier();
    EXPECT_TRUE(clocks.ordered(5, later, 90));
}

/// Readers without order among each other are all remembered.
TEST(ShadowMemory, RemembersAllReaders) {
    Clocks clocks;
    ShadowMemory shadow(clocks);
    shadow.grow(4);
    clocks.start_block(128);
    shadow.start_block(4);
    EXPECT_FALSE(shadow.write(0, 4, 0, 0));
    clocks.full_barrier();
    shadow.forget_readers();
    for (const int reader : {1, 33, 65}) EXPECT_FALSE(shadow.read(0, 4, reader, 0));
    const std::vector<int> some = {33, 65, 100};
    clocks.synchronise(some, some);
    const Conflict conflict = shadow.write(0, 4, 100, 0);
    EXPECT_EQ(conflict.kind, Conflict::Kind::race);
    EXPECT_EQ(conflict.other_thread, 1);
    const std::vector<int> others = {1, 100};
    clocks.synchronise(others, others);
    EXPECT_FALSE(shadow.write(0, 4, 100, 0));
    EXPECT_EQ(shadow.write(0, 4, 127, 0).kind, Conflict::Kind::race);
}

}  // namespace
}  // namespace isoflop::emulator
