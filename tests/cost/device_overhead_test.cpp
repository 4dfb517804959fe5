#include "isoflop/cost/device_overhead.hpp"

#include <gtest/gtest.h>

namespace isoflop::cost {
namespace {

TEST(DeviceOverhead, IsOfAGpuOnly) {
    Execution execution;
    execution.device = DeviceKind::cpu;
    execution.world_size = 8;
    EXPECT_EQ(device_overhead(execution).total_bytes(), 0U);
    execution.device = DeviceKind::cuda;
    EXPECT_GT(device_overhead(execution).opened_bytes, 0U);
    EXPECT_GT(device_overhead(execution).modules_bytes, 0U);
}

TEST(DeviceOverhead, GrowsWithEachCommunicator) {
    Execution execution;
    EXPECT_EQ(device_overhead(execution).communicators, 0);
    EXPECT_EQ(device_overhead(execution).nccl_bytes, 0U);
    execution.world_size = 8;
    const std::uint64_t one = device_overhead(execution).nccl_bytes;
    EXPECT_EQ(device_overhead(execution).communicators, 1);
    EXPECT_GT(one, 0U);
    execution.parallelism = Parallelism::fsdp;
    EXPECT_EQ(device_overhead(execution).nccl_bytes, one);
    execution.shard_size = 4;  // two copies
    EXPECT_EQ(device_overhead(execution).communicators, 3);
    EXPECT_EQ(device_overhead(execution).nccl_bytes, 3 * one);
}

TEST(DeviceOverhead, HasCudnnWhereItMayRun) {
    Execution execution;
    EXPECT_EQ(device_overhead(execution).cudnn_bytes, 0U);
    const std::uint64_t all = device_overhead(execution).total_bytes();
    execution.attention_backend = AttentionBackend::sdpa;
    EXPECT_GT(device_overhead(execution).cudnn_bytes, 0U);
    EXPECT_EQ(device_overhead(execution).total_bytes(), all) << "part of the context's estimate";
    execution.dtype = DType::float32;
    EXPECT_EQ(device_overhead(execution).cudnn_bytes, 0U);
}

}  // namespace
}  // namespace isoflop::cost
