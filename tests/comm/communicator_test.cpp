// The queue, its thread and its errors, with ranks as threads.
#include "isoflop/comm/threaded_communicator.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "comm/local_ranks.hpp"

namespace isoflop::comm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr std::uint64_t kStagingBytes = 1 << 12;

/// Runs body(communicator) on every rank.
template <class Body>
void on_ranks(int size, double timeout_seconds, const Body& body) {
    auto group = make_local_group(size, timeout_seconds);
    run_threads(size, [&](int rank) {
        Staging staging(kStagingBytes);
        ThreadedCommunicator communicator(std::move(group[static_cast<std::size_t>(rank)]),
                                          staging.span());
        body(communicator);
    });
}

TensorView view(std::vector<float>& values) {
    return TensorView::of(std::span(values), {static_cast<std::int64_t>(values.size())});
}

/// What wait() throws; nothing when it does not.
std::optional<LostRank> failure_of(Pending& pending) {
    try {
        pending.wait();
    } catch (const LostRank& error) {
        return error;
    }
    return std::nullopt;
}

TEST(Communicator, OperationsRunInTheOrderOfCalls) {
    on_ranks(4, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> values(400, 1.0F);
        Pending first = communicator.all_reduce(view(values));   // 4
        Pending second = communicator.all_reduce(view(values));  // 16
        Pending third = communicator.all_reduce(view(values));   // 64
        third.wait();
        EXPECT_TRUE(first.done());
        EXPECT_TRUE(second.done());
        first.wait();
        first.wait();
        EXPECT_EQ(values, std::vector<float>(400, 64.0F));
    });
}

TEST(Communicator, ACallReturnsWhileTheOthersAreStillComputing) {
    on_ranks(2, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> values(1000, 1.0F);
        if (communicator.rank() == 1) std::this_thread::sleep_for(milliseconds(100));
        const Clock::time_point start = Clock::now();
        Pending sum = communicator.all_reduce(view(values));
        EXPECT_LT(seconds_since(start), 0.09);
        sum.wait();
        EXPECT_EQ(values.front(), 2.0F);
        const CommunicationTotals totals = communicator.totals();
        if (communicator.rank() == 0) {
            EXPECT_GT(totals.exposed_seconds, 0.05);
            EXPECT_GT(totals.seconds, 0.05);
        }
    });
}

TEST(Communicator, WaitingForWhatIsDoneIsNotExposed) {
    on_ranks(2, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> values(1000, 1.0F);
        Pending sum = communicator.all_reduce(view(values));
        while (!sum.done()) std::this_thread::sleep_for(milliseconds(1));
        sum.wait();
        EXPECT_EQ(communicator.totals().exposed_seconds, 0.0);
    });
}

TEST(Communicator, CountsBytesAndCallsByKind) {
    on_ranks(4, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> values(400);
        communicator.all_reduce(view(values)).wait();
        communicator.reduce_scatter(view(values)).wait();
        communicator.all_gather(view(values)).wait();
        meet(communicator);

        const CommunicationTotals totals = communicator.totals();
        const auto bytes = [&](CollectiveKind kind) {
            return totals.bytes_sent.at(static_cast<std::size_t>(kind));
        };
        EXPECT_EQ(bytes(CollectiveKind::all_reduce), 2U * 1200U);
        EXPECT_EQ(bytes(CollectiveKind::reduce_scatter), 1200U);
        EXPECT_EQ(bytes(CollectiveKind::all_gather), 1200U);
        EXPECT_EQ(bytes(CollectiveKind::values), 3U * sizeof(double));
        EXPECT_EQ(totals.calls, (decltype(totals.calls){1, 1, 1, 1}));
    });
}

TEST(Communicator, GathersSmallValuesInRankOrder) {
    on_ranks(3, kTestTimeoutSeconds, [](Communicator& communicator) {
        const double mine[] = {1.0 * communicator.rank(), -1.0};
        EXPECT_EQ(communicator.gather_values(mine), (std::vector<double>{0, -1, 1, -1, 2, -1}));
    });
}

TEST(Communicator, OneRankAloneHasNothingToSend) {
    ThreadedCommunicator communicator(std::move(make_local_group(1, 1).front()), {});
    std::vector<float> values(7, 3.0F);
    communicator.all_reduce(view(values)).wait();
    communicator.all_gather(view(values)).wait();
    meet(communicator);
    EXPECT_EQ(values, std::vector<float>(7, 3.0F));
    EXPECT_EQ(communicator.totals().bytes_sent, decltype(CommunicationTotals::bytes_sent){});
}

TEST(Communicator, RefusesTensorsThatDoNotFit) {
    on_ranks(2, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> odd(7);
        EXPECT_THROW((void)communicator.all_reduce(view(odd)), std::invalid_argument);
        EXPECT_THROW((void)communicator.all_gather(view(odd)), std::invalid_argument);
        EXPECT_THROW((void)communicator.reduce_scatter({odd.data(), DType::int8, {4}}),
                     std::invalid_argument);
    });
    EXPECT_THROW(ThreadedCommunicator(std::move(make_local_group(2, 1).front()), {}),
                 std::invalid_argument);
}

TEST(Communicator, ARankThatDiesIsNamedByTheOthersAtOnce) {
    const Clock::time_point start = Clock::now();
    on_ranks(4, kTestTimeoutSeconds, [](Communicator& communicator) {
        if (communicator.rank() == 2) return;
        std::vector<float> values(400);
        Pending sum = communicator.all_reduce(view(values));
        Pending later = communicator.all_reduce(view(values));
        const auto error = failure_of(sum);
        const auto later_error = failure_of(later);
        ASSERT_TRUE(error);
        ASSERT_TRUE(later_error);
        EXPECT_STREQ(error->what(), later_error->what());
        EXPECT_EQ(error->exit_code(), ExitCode::lost_rank);
        EXPECT_THROW(meet(communicator), LostRank);
    });
    EXPECT_LT(seconds_since(start), 0.5 * kTestTimeoutSeconds);
}

TEST(Communicator, ARankThatHangsIsNamedAfterTheTimeout) {
    std::atomic<bool> detected = false;
    on_ranks(2, 0.2, [&](Communicator& communicator) {
        if (communicator.rank() == 1) {
            while (!detected) std::this_thread::sleep_for(milliseconds(5));
            return;
        }
        std::vector<float> values(400);
        Pending sum = communicator.all_reduce(view(values));
        const auto error = failure_of(sum);
        detected = true;
        ASSERT_TRUE(error);
        EXPECT_EQ(error->rank(), 1);
        EXPECT_NE(std::string(error->what()).find("rank 1"), std::string::npos);
    });
}

TEST(Communicator, AbortEndsWhatIsUnderWayOnEveryRank) {
    const Clock::time_point start = Clock::now();
    on_ranks(3, kTestTimeoutSeconds, [](Communicator& communicator) {
        std::vector<float> values(300);
        if (communicator.rank() == 0) {  // in the middle of a sum that rank 2 never joins
            Pending sum = communicator.all_reduce(view(values));
            std::thread aborter([&] {
                std::this_thread::sleep_for(milliseconds(50));
                communicator.abort();
            });
            EXPECT_TRUE(failure_of(sum));
            aborter.join();
        } else if (communicator.rank() == 1) {
            Pending sum = communicator.all_reduce(view(values));
            EXPECT_TRUE(failure_of(sum));
        } else {
            std::this_thread::sleep_for(milliseconds(150));  // finds out when it next communicates
            EXPECT_THROW(meet(communicator), LostRank);
        }
    });
    EXPECT_LT(seconds_since(start), 0.5 * kTestTimeoutSeconds);
}

TEST(Communicator, DestructionWithUnfinishedOperationsDoesNotHang) {
    const Clock::time_point start = Clock::now();
    on_ranks(2, kTestTimeoutSeconds, [](Communicator& communicator) {
        static std::vector<float> values(400);
        if (communicator.rank() == 0) {
            (void)communicator.all_reduce(view(values));
            return;
        }
        std::this_thread::sleep_for(milliseconds(100));
        EXPECT_THROW(meet(communicator), LostRank);
    });
    EXPECT_LT(seconds_since(start), 0.5 * kTestTimeoutSeconds);
}

TEST(Communicator, APendingMayOutliveItsCommunicator) {
    std::vector<float> values(8);
    Pending sum;
    EXPECT_TRUE(sum.done());
    sum.wait();
    {
        auto group = make_local_group(2, kTestTimeoutSeconds);
        Staging staging(kStagingBytes);
        ThreadedCommunicator communicator(std::move(group.front()), staging.span());
        sum = communicator.all_reduce(view(values));
    }
    EXPECT_TRUE(failure_of(sum));
}

}  // namespace
}  // namespace isoflop::comm
