// The peak of a host is what its cores deliver, however many ranks share them.
#include "trainer/host_cores.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isoflop::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kCorePeak = 100e9;

RankCores rank_on(std::uint32_t host, std::vector<std::uint32_t> mask, int threads,
                  double peak_flops) {
    return {.host = host,
            .container = 0,
            .threads = threads,
            .peak_flops = peak_flops,
            .cpus = {.mask = std::move(mask), .quota = {}}};
}

/// A rank of one thread that found a moment in which it had a core to itself.
RankCores lucky_rank(std::uint32_t host, std::vector<std::uint32_t> mask) {
    return rank_on(host, std::move(mask), 1, kCorePeak);
}

std::vector<RankCores> through_values(const std::vector<RankCores>& ranks) {
    std::vector<double> all;
    for (const RankCores& rank : ranks) {
        const std::vector<double> values = to_values(rank);
        all.insert(all.end(), values.begin(), values.end());
    }
    return from_values(all, static_cast<int>(ranks.size()));
}

TEST(HostCores, SixteenRanksOnTwoCoresHaveThePeakOfTwoCores) {
    const std::vector<RankCores> ranks(16, lucky_rank(7, {0b11}));
    const std::vector<HostCores> hosts = hosts_of(through_values(ranks));
    ASSERT_EQ(hosts.size(), 1U);
    EXPECT_EQ(hosts[0].ranks, 16);
    EXPECT_EQ(hosts[0].threads, 16);
    EXPECT_EQ(hosts[0].cores, 2);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts), 2 * kCorePeak);
}

TEST(HostCores, RanksThatDivideTheCoresAddUp) {
    const std::vector<RankCores> ranks(4, rank_on(7, {0xFF}, 2, 2 * kCorePeak));
    const std::vector<HostCores> hosts = hosts_of(ranks);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts), 8 * kCorePeak);
    EXPECT_EQ(oversubscription_warning(hosts), "");
}

TEST(HostCores, RanksBoundToTheirOwnCoresAddUp) {
    const std::vector<RankCores> ranks{lucky_rank(7, {0b0001}), lucky_rank(7, {0, 0b1000})};
    const std::vector<HostCores> hosts = hosts_of(through_values(ranks));
    EXPECT_EQ(hosts[0].cores, 2);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts), 2 * kCorePeak);
    EXPECT_EQ(oversubscription_warning(hosts), "");
}

TEST(HostCores, RanksBoundToOneCoreShareIt) {
    const std::vector<RankCores> ranks(2, lucky_rank(7, {0b0100}));
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts_of(ranks)), kCorePeak);
}

TEST(HostCores, EachHostHasItsOwnCores) {
    const std::vector<RankCores> ranks{lucky_rank(7, {0b11}), lucky_rank(9, {0b11}),
                                       lucky_rank(7, {0b11}), lucky_rank(9, {0b11})};
    const std::vector<HostCores> hosts = hosts_of(ranks);
    ASSERT_EQ(hosts.size(), 2U);
    EXPECT_EQ(hosts[1].first_rank, 1);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts), 4 * kCorePeak);
    EXPECT_EQ(oversubscription_warning(hosts), "");
}

TEST(HostCores, AQuotaLimitsTheCores) {
    std::vector<RankCores> ranks(4, lucky_rank(7, {0xFF}));
    for (RankCores& rank : ranks) rank.cpus.quota = 1.5;
    const std::vector<HostCores> hosts = hosts_of(through_values(ranks));
    EXPECT_EQ(hosts[0].cores, 2);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts), 2 * kCorePeak);
}

TEST(HostCores, ContainersOfAMachineShareItsCoresAndHaveQuotasOfTheirOwn) {
    std::vector<RankCores> ranks(4, rank_on(7, {0xFF}, 8, 8 * kCorePeak));
    for (std::uint32_t number = 0; number < 4; ++number) ranks[number].container = number;
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts_of(through_values(ranks))), 8 * kCorePeak);
    EXPECT_NE(oversubscription_warning(hosts_of(ranks)), "");

    for (RankCores& rank : ranks) {
        rank.cpus.quota = 2;
        rank.threads = 2;
        rank.peak_flops = 2 * kCorePeak;
    }
    EXPECT_EQ(hosts_of(through_values(ranks)).front().cores, 8);
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts_of(ranks)), 8 * kCorePeak);
    EXPECT_EQ(oversubscription_warning(hosts_of(ranks)), "");
}

TEST(HostCores, RanksThatMeasuredNoMoreThanTheirShareKeepIt) {
    std::vector<RankCores> ranks(4, lucky_rank(7, {0b11}));
    for (RankCores& rank : ranks) rank.peak_flops = kCorePeak / 4;
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts_of(ranks)), kCorePeak / 2);
}

TEST(HostCores, ARankWithMoreThreadsThanCoresMeasuredItsCores) {
    const std::vector<RankCores> ranks(2, rank_on(7, {0b11}, 8, 2 * kCorePeak));
    EXPECT_DOUBLE_EQ(total_peak_flops(hosts_of(ranks)), 2 * kCorePeak);
}

TEST(HostCores, WarningNamesRanksCoresAndThreads) {
    const std::vector<RankCores> many(16, lucky_rank(7, {0b11}));
    const std::string warning = oversubscription_warning(hosts_of(many));
    EXPECT_THAT(warning, HasSubstr("16 ranks with 16 threads in all share 2 cores"));
    EXPECT_THAT(warning, HasSubstr("start at most 2 ranks"));

    const std::vector<RankCores> wide(2, rank_on(7, {0xFF}, 8, 8 * kCorePeak));
    EXPECT_THAT(oversubscription_warning(hosts_of(wide)), HasSubstr("set threads=4"));
}

TEST(HostCores, WarningIsAboutTheFullestHost) {
    std::vector<RankCores> ranks(4, lucky_rank(7, {0b11}));
    for (int more = 0; more < 8; ++more) ranks.push_back(lucky_rank(9, {0b11}));
    EXPECT_THAT(oversubscription_warning(hosts_of(ranks)), HasSubstr("8 ranks"));
    EXPECT_THAT(oversubscription_warning(hosts_of(ranks)), HasSubstr("host of rank 4"));
}

TEST(HostCores, ARankAloneOnItsHostIsNotWarnedAbout) {
    EXPECT_EQ(oversubscription_warning(hosts_of(std::vector{rank_on(7, {0b11}, 8, kCorePeak)})),
              "");
}

comm::LaunchInfo launch_of(int ranks, int per_host) {
    comm::LaunchInfo launch;
    launch.world_size = ranks;
    launch.local_world_size = per_host;
    return launch;
}

TEST(HostCores, PlannedRanksShareTheCoresOfTheirHost) {
    const RankCores mine = lucky_rank(7, {0b11});
    const auto one_host = planned_hosts(mine, launch_of(16, 16), false);
    EXPECT_DOUBLE_EQ(total_peak_flops(one_host), 2 * kCorePeak);
    EXPECT_THAT(oversubscription_warning(one_host), HasSubstr("16 ranks"));

    const auto eight_hosts = planned_hosts(mine, launch_of(16, 2), false);
    EXPECT_EQ(eight_hosts.size(), 8U);
    EXPECT_DOUBLE_EQ(total_peak_flops(eight_hosts), 16 * kCorePeak);
    EXPECT_EQ(oversubscription_warning(eight_hosts), "");
}

TEST(HostCores, PlannedRanksThatAreBoundHaveCoresEach) {
    const RankCores mine = rank_on(7, {0b11}, 2, 2 * kCorePeak);
    EXPECT_DOUBLE_EQ(total_peak_flops(planned_hosts(mine, launch_of(4, 4), true)), 8 * kCorePeak);
    EXPECT_DOUBLE_EQ(total_peak_flops(planned_hosts(mine, launch_of(4, 4), false)), 2 * kCorePeak);
}

TEST(HostCores, ThisRankKnowsItsCores) {
    const RankCores mine = cores_of_this_rank(3, kCorePeak);
    EXPECT_EQ(mine.threads, 3);
    EXPECT_EQ(mine.host, cores_of_this_rank(1, 0).host);
    const RankCores told = through_values({mine}).front();
    EXPECT_EQ(told.host, mine.host);
    EXPECT_EQ(told.cpus.count(), mine.cpus.count());
    EXPECT_THAT(oversubscription_warning(hosts_of(std::vector{told})), Not(HasSubstr("ranks")));
}

}  // namespace
}  // namespace isoflop::trainer
