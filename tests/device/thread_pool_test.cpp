#include "isoflop/device/thread_pool.hpp"
#include <gtest/gtest.h>
TEST(ThreadPool, RunsEveryChunkOnce) {
    isoflop::device::ThreadPool pool(2);
    std::vector<int> seen(100);
    pool.parallel_for(100, [&](std::int64_t chunk) { ++seen[static_cast<std::size_t>(chunk)]; });
    for (const int count : seen) EXPECT_EQ(count, 1);
}
