// Which rank is lost, according to the final reports of a group.
#include "comm/final_reports.hpp"

#include <gtest/gtest.h>

namespace isoflop::comm {
namespace {

FinalReports reports_of_four(int own_rank) {
    return {own_rank,
            {"rank 0 on a", "rank 1 on a", "rank 2 on b", "rank 3 on b"},
            std::chrono::milliseconds(60'000)};
}

TEST(FinalReports, ConnectionClosedWithoutReportOutweighsTheReportsOfOtherRanks) {
    FinalReports reports = reports_of_four(0);
    reports.record(1, 2);
    reports.record(3, kConnectionClosed);
    EXPECT_TRUE(reports.is_certain(1));
    EXPECT_EQ(reports.find_lost(1).rank, 3);
    EXPECT_EQ(reports.find_lost(1).message, "rank 3 on b is lost: it closed its connection");
}

TEST(FinalReports, ChainOfWaitingEndsAtTheRankWithoutReport) {
    FinalReports reports = reports_of_four(0);
    reports.record(0, 1);
    reports.record(1, 3);
    EXPECT_FALSE(reports.is_certain(1));
    EXPECT_EQ(reports.find_lost(1).rank, 3);
    EXPECT_EQ(reports.find_lost(1).message, "rank 3 on b is lost: it has not answered for 60 s");
}

TEST(FinalReports, ChainOfWaitingGoesThroughThisRank) {
    FinalReports reports = reports_of_four(2);
    reports.record(0, 2);
    reports.record(2, 3);
    EXPECT_EQ(reports.first_failing(), 0);
    EXPECT_EQ(reports.find_lost(reports.first_failing()).rank, 3);
}

TEST(FinalReports, RankThatOthersWaitedForGetsTheirName) {
    FinalReports reports = reports_of_four(2);
    reports.record(0, 2);
    EXPECT_EQ(reports.find_lost(0).rank, -1);
    EXPECT_EQ(reports.find_lost(0).message,
              "rank 0 on a gave up waiting for this one, rank 2 on b");
}

TEST(FinalReports, RankThatAbortsIsNamed) {
    FinalReports reports = reports_of_four(0);
    reports.record(1, 2);
    reports.record(2, kAborted);
    EXPECT_TRUE(reports.is_certain(1));
    EXPECT_EQ(reports.find_lost(1).message, "rank 2 on b has ended the communication");
}

TEST(FinalReports, FinishedRankIsNoFailure) {
    FinalReports reports = reports_of_four(0);
    reports.record(1, kFinished);
    EXPECT_EQ(reports.first_failing(), -1);
    EXPECT_EQ(reports.find_lost(1).message, "rank 1 on a is lost: it has left the group");
}

TEST(FinalReports, RanksThatWaitForEachOtherHaveALostRankToo) {
    FinalReports reports = reports_of_four(0);
    reports.record(1, 2);
    reports.record(2, 1);
    EXPECT_GE(reports.find_lost(1).rank, 1);
}

}  // namespace
}  // namespace isoflop::comm
