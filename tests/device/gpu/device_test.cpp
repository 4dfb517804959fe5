// Memory, copies, graphs and errors of the real device.
#include "isoflop/device/device.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "isoflop/base/error.hpp"
#include "support/gpu_fixture.hpp"

namespace isoflop::device {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class GpuDevice : public test::GpuTest {};

std::vector<std::uint32_t> numbers(std::size_t count, std::uint32_t first) {
    std::vector<std::uint32_t> values(count);
    std::iota(values.begin(), values.end(), first);
    return values;
}

TEST_F(GpuDevice, SaysWhatItIs) {
    const DeviceInfo& info = gpu_->info();
    EXPECT_THAT(info.name, Not(IsEmpty()));
    EXPECT_GE(info.capability_major, 8);
    EXPECT_GT(info.multiprocessors, 0);
    EXPECT_GT(info.total_bytes, 0U);
    EXPECT_THAT(info.runtime, HasSubstr("CUDA 1"));
    EXPECT_THAT(info.libraries, HasSubstr("cuBLASLt 1"));
    const DeviceMemoryUse use = gpu_->memory_use();
    EXPECT_GE(use.used_bytes, kScratchBytes);
    EXPECT_GE(use.total_bytes, use.usable_bytes);
    EXPECT_GT(gpu_->sensors().value_or(DeviceSensors{.watts = 1}).watts, 0);  // some have no NVML
    gpu_->begin_range("a test");
    gpu_->end_range();
}

TEST_F(GpuDevice, MemoryBeginsAsZeros) {
    for (const std::uint64_t bytes : {1ULL, 4097ULL, 3ULL << 20U}) {
        const DeviceBuffer buffer(*gpu_, bytes);
        EXPECT_THAT(download<std::uint8_t>(buffer), Each(0)) << bytes;
    }
    const DeviceBuffer nothing(*gpu_, 0);
    gpu_->copy_in(nothing.data(), nullptr, 0);
    gpu_->copy_out(nullptr, nothing.data(), 0);
    gpu_->fill_zero(nothing.data(), 0);
    EXPECT_NE(gpu_->next_result(), gpu_->next_result());
}

TEST_F(GpuDevice, CopiesOfAnySizeArrive) {
    for (const std::size_t count : {1U, 3U, 1000U, 262'144U, 262'145U, 524'288U, 3'000'001U}) {
        const std::vector<std::uint32_t> values = numbers(count, 7);
        EXPECT_EQ(download<std::uint32_t>(upload(values)), values) << count;
    }
}

TEST_F(GpuDevice, CopiesHappenInTheOrderOfCalls) {
    // One destination, written again and again and read in between by copies on the device: small
    // ones go through a ring on the GPU, large ones do not, and the ring is gone through often.
    constexpr std::size_t kCount = 60'000;
    constexpr std::size_t kLarge = 700'000;
    const DeviceBuffer target(*gpu_, kLarge * 4);
    std::vector<DeviceBuffer> seen;
    for (int round = 0; round < 60; ++round) seen.emplace_back(*gpu_, 16);
    std::vector<std::uint32_t> host(kLarge);
    for (std::uint32_t round = 0; round < 60; ++round) {
        const std::size_t count = round % 7 == 3 ? kLarge : kCount - round;
        std::fill(host.begin(), host.end(), round);
        gpu_->copy_in(target.data(), host.data(), count * 4);
        std::fill(host.begin(), host.end(), 1000);  // free to be used again
        gpu_->copy(seen[round].data(), target.data() + (count - 4) * 4, 16);
        gpu_->copy(target.data() + (count - 4) * 4, target.data(), 4);
    }
    for (std::uint32_t round = 0; round < 60; ++round)
        EXPECT_THAT(download<std::uint32_t>(seen[round]), Each(round));
}

TEST_F(GpuDevice, DeferredValuesWaitForTheirWork) {
    double* const slot = gpu_->next_result();
    const double pi = 3.25;
    gpu_->copy_in(slot, &pi, sizeof(pi));
    EXPECT_EQ(DeferredValue(*gpu_, slot).get(), 3.25);
}

TEST_F(GpuDevice, AGraphRepeatsWhatWasRecorded) {
    const DeviceBuffer from = upload(numbers(1000, 1));
    const DeviceBuffer to(*gpu_, from.size());
    ASSERT_TRUE(gpu_->begin_capture());
    gpu_->copy(to.data(), from.data(), from.size());
    EXPECT_THROW(gpu_->synchronize(), std::logic_error);
    EXPECT_THROW(gpu_->copy_in(to.data(), &options_, 4), std::logic_error);
    const std::unique_ptr<Device::Graph> graph = gpu_->end_capture();
    EXPECT_THAT(download<std::uint32_t>(to), Each(0));
    graph->launch();
    EXPECT_EQ(download<std::uint32_t>(to), numbers(1000, 1));
    const std::vector<std::uint32_t> others = numbers(1000, 5);
    gpu_->copy_in(from.data(), others.data(), from.size());
    graph->launch();
    gpu_->fill_zero(from.data(), from.size());
    graph->launch();
    gpu_->copy_in(from.data(), others.data(), from.size());
    graph->launch();
    EXPECT_EQ(download<std::uint32_t>(to), others);
}

TEST_F(GpuDevice, AbandonedRecordingDoesNoHarm) {
    const DeviceBuffer buffer(*gpu_, 16);
    ASSERT_TRUE(gpu_->begin_capture());
    gpu_->fill_zero(buffer.data(), 16);
    // The device is destroyed while it records.
}

TEST_F(GpuDevice, LackOfMemoryNamesSizeAndWhatIsFree) {
    try {
        (void)gpu_->allocate(gpu_->info().total_bytes * 2);
        FAIL() << "twice the memory was allocated";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::out_of_memory);
        EXPECT_THAT(error.what(), HasSubstr("cannot be allocated"));
        EXPECT_THAT(error.what(), HasSubstr("are free"));
    }
    EXPECT_THAT(download<std::uint8_t>(DeviceBuffer(*gpu_, 64)), Each(0));  // and work goes on
}

TEST_F(GpuDevice, AnOrdinalTooHighIsAnsweredWithTheList) {
    for (const int ordinal : {-1, count_gpus().devices}) {
        options_.ordinal = ordinal;
        try {
            (void)open_gpu(options_);
            FAIL() << ordinal;
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), HasSubstr("there is no GPU " + std::to_string(ordinal)));
            EXPECT_THAT(error.what(), HasSubstr("0 " + gpu_->info().name));
        }
    }
}

TEST(Gpus, AreCountedOrAReasonIsGiven) {
    const DeviceCount count = count_gpus();
    EXPECT_NE(count.devices > 0, !count.reason.empty());
    if (count.devices > 0) return;
    EXPECT_THAT(count.reason, Not(HasSubstr("\n")));
    try {
        (void)open_gpu({});
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_EQ(error.what(), "device=cuda: " + count.reason);
    }
}

}  // namespace
}  // namespace isoflop::device
