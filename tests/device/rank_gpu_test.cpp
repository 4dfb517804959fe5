#include "isoflop/device/rank_gpu.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/base/error.hpp"

namespace isoflop::device {
namespace {

TEST(RankGpu, IsTheLocalRankWhereAllRanksSeeAllGpus) {
    for (int local_rank = 0; local_rank < 8; ++local_rank)
        EXPECT_EQ(gpu_of_rank(8, local_rank, 8), local_rank);
    EXPECT_EQ(gpu_of_rank(8, 3, 4), 3) << "more GPUs than ranks";
    EXPECT_EQ(gpu_of_rank(8, 5, 1), 5) << "a launcher that does not tell the number of ranks";
}

TEST(RankGpu, IsTheOnlyOneWhereEachRankSeesItsOwn) {
    for (int local_rank = 0; local_rank < 4; ++local_rank)
        EXPECT_EQ(gpu_of_rank(1, local_rank, 4), 0);
    EXPECT_EQ(gpu_of_rank(1, 0, 1), 0);
}

TEST(RankGpu, IsRefusedWhereRanksSeeFewerGpusThanTheyAre) {
    for (const auto& [local_rank, ranks] : {std::pair{0, 4}, {3, 4}, {2, 1}}) {
        try {
            (void)gpu_of_rank(2, local_rank, ranks);
            FAIL() << local_rank << " of " << ranks;
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), testing::HasSubstr("sees 2 GPUs, fewer than"));
            EXPECT_THAT(error.what(), testing::HasSubstr("--gpus-per-task=1"));
        }
    }
}

TEST(RankGpu, IsLeftToTheDeviceWhereThereIsNone) {
    EXPECT_EQ(gpu_of_rank(0, 2, 4), 2);
}

}  // namespace
}  // namespace isoflop::device
