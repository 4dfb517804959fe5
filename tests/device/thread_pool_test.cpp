#include "isoflop/device/thread_pool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/device/usable_cpus.hpp"

namespace isoflop::device {
namespace {

TEST(ThreadPool, RunsEveryChunkOnce) {
    for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.num_threads(), threads);
        for (const std::int64_t chunks : {0, 1, 2, 3, 7, 1000}) {
            std::vector<std::atomic<int>> seen(static_cast<std::size_t>(chunks));
            pool.parallel_for(chunks,
                              [&](std::int64_t chunk) { ++seen[static_cast<std::size_t>(chunk)]; });
            for (const auto& count : seen) EXPECT_EQ(count, 1);
        }
    }
}

TEST(ThreadPool, RangesCoverTheCountInPiecesOfTheGrain) {
    ThreadPool pool(3);
    std::vector<int> seen(103);
    pool.parallel_ranges(103, 10, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_EQ(begin % 10, 0);
        EXPECT_LE(end - begin, 10);
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    EXPECT_THAT(seen, ::testing::Each(1));
    pool.parallel_ranges(0, 10, [](std::int64_t, std::int64_t) { FAIL(); });
}

TEST(ThreadPool, ResultsOfChunksAreVisibleAfterwards) {
    // A plain vector: the pool orders the writes of the workers before its return.
    ThreadPool pool(4);
    std::vector<std::int64_t> squares(64);
    for (std::int64_t round = 0; round < 200; ++round) {
        pool.parallel_for(
            64, [&](std::int64_t i) { squares[static_cast<std::size_t>(i)] = i * i + round; });
        const std::int64_t sum = std::accumulate(squares.begin(), squares.end(), std::int64_t{0});
        ASSERT_EQ(sum, 63 * 64 * 127 / 6 + 64 * round);
    }
}

TEST(ThreadPool, NestedCallsRunInTheCallingThread) {
    ThreadPool pool(3);
    ThreadPool other(2);
    std::atomic<int> runs = 0;
    pool.parallel_for(8, [&](std::int64_t) {
        const auto self = std::this_thread::get_id();
        for (ThreadPool* nested : {&pool, &other}) {
            nested->parallel_for(5, [&](std::int64_t) {
                EXPECT_EQ(std::this_thread::get_id(), self);
                ++runs;
            });
        }
    });
    EXPECT_EQ(runs, 80);
}

TEST(ThreadPool, FirstExceptionIsRethrownAndThePoolLives) {
    ThreadPool pool(3);
    for (int round = 0; round < 50; ++round) {
        EXPECT_THROW(pool.parallel_for(20,
                                       [](std::int64_t chunk) {
                                           if (chunk % 3 == 1) throw std::runtime_error("chunk");
                                       }),
                     std::runtime_error);
        std::atomic<int> runs = 0;
        pool.parallel_for(20, [&](std::int64_t) { ++runs; });
        ASSERT_EQ(runs, 20);
    }
}

TEST(ThreadPool, SeveralThreadsMayUseOnePool) {
    ThreadPool pool(3);
    std::vector<std::thread> callers;
    std::atomic<std::int64_t> total = 0;
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&] {
            for (int round = 0; round < 200; ++round) {
                pool.parallel_for(9, [&](std::int64_t chunk) { total += chunk; });
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(total, 4 * 200 * 36);
}

TEST(ThreadPool, ManySmallJobsOfAllSizes) {
    ThreadPool pool(4);
    std::atomic<std::int64_t> total = 0;
    std::int64_t expected = 0;
    for (std::int64_t round = 0; round < 5000; ++round) {
        const std::int64_t chunks = round % 7;
        expected += chunks;
        pool.parallel_for(chunks,
                          [&](std::int64_t) { total.fetch_add(1, std::memory_order_relaxed); });
        // Now and then long enough for the workers to fall asleep.
        if (round % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(total, expected);
}

TEST(ThreadPool, StartsAndStopsAtOnce) {
    for (int round = 0; round < 100; ++round) {
        ThreadPool pool(3);
        if (round % 2 == 0) pool.parallel_for(2, [](std::int64_t) {});
    }
}

/// Sets a variable and puts the old value back.
class ScopedVariable {
public:
    ScopedVariable(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        setenv(name, value, 1);
    }
    ~ScopedVariable() {
        if (old_.empty()) {
            unsetenv(name_);
        } else {
            setenv(name_, old_.c_str(), 1);
        }
    }
    ScopedVariable(const ScopedVariable&) = delete;
    ScopedVariable& operator=(const ScopedVariable&) = delete;

private:
    const char* name_;
    std::string old_;
};

TEST(ThreadCount, IsWithinWhatTheMachineHas) {
    const ScopedVariable unset("ISOFLOP_NUM_THREADS", "");
    EXPECT_GE(default_thread_count(), 1);
    EXPECT_LE(default_thread_count(), 1024);
}

TEST(ThreadCount, EnvironmentVariableDecides) {
    const ScopedVariable variable("ISOFLOP_NUM_THREADS", "7");
    EXPECT_EQ(default_thread_count(), 7);
}

TEST(ThreadCount, NonsenseInTheVariableIsAnError) {
    for (const char* value : {"0", "-2", "two", "3x", "1.5", "99999999999", "1025"}) {
        const ScopedVariable variable("ISOFLOP_NUM_THREADS", value);
        EXPECT_THROW(static_cast<void>(default_thread_count()), ConfigError) << value;
    }
}

#if defined(__linux__)
TEST(UsableCpus, AreThoseOfTheAffinityWhateverTheVariableSays) {
    const ScopedVariable variable("ISOFLOP_NUM_THREADS", "7");
    cpu_set_t before;
    ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
    int first = 0;
    while (!CPU_ISSET(first, &before)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const UsableCpus cpus = usable_cpus();
    ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);

    EXPECT_EQ(cpus.count(), 1);
    const auto word = static_cast<std::size_t>(first) / 32;
    ASSERT_EQ(cpus.mask.size(), word + 1);
    EXPECT_EQ(cpus.mask[word], 1U << (static_cast<unsigned>(first) % 32U));
}
#endif

TEST(UsableCpus, QuotaLimitsTheirNumberAndIsRoundedUp) {
    EXPECT_EQ((UsableCpus{.mask = {0xFFU, 1U}, .quota = {}}).count(), 9);
    EXPECT_EQ((UsableCpus{.mask = {0xFFU}, .quota = 2.5}).count(), 3);
    EXPECT_EQ((UsableCpus{.mask = {0xFFU}, .quota = 64.0}).count(), 8);
    EXPECT_EQ(UsableCpus{}.count(), 1);
}

}  // namespace
}  // namespace isoflop::device
