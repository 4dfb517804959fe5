#include "isoflop/device/cpu_info.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "device/cgroup.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/arena.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::device {
namespace {

namespace fs = std::filesystem;

TEST(CpuInfo, IsFilledIn) {
    const CpuInfo info = cpu_info();
    EXPECT_FALSE(info.model_name.empty());
    EXPECT_THAT(info.instruction_set, ::testing::AnyOf("avx512", "avx2", "generic"));
    EXPECT_GE(info.num_threads, 1);
    EXPECT_GT(info.memory_bytes, 1U << 20U);
}

TEST(CpuInfo, PeaksAreRatesOfThisMachine) {
    ThreadPool pool(1);
    for (const InstructionSet set :
         {InstructionSet::generic, InstructionSet::avx2, InstructionSet::avx512}) {
        if (set > best_instruction_set()) continue;
        force_instruction_set(set);
        const double peak = measure_fma_peak(pool, 0.01);
        EXPECT_GT(peak, 1e7);
        EXPECT_LT(peak, 1e13);
    }
    force_instruction_set(best_instruction_set());
}

TEST(CpuInfo, InstructionSetsOfOtherMachinesCannotBeForced) {
    if (best_instruction_set() == InstructionSet::avx512) GTEST_SKIP() << "this CPU has them all";
    EXPECT_THROW(force_instruction_set(InstructionSet::avx512), std::invalid_argument);
}

TEST(Memory, TouchedArenaPagesAreResident) {
    constexpr std::uint64_t kBytes = 64U << 20U;
    const std::uint64_t before = resident_anonymous_bytes();
    ASSERT_GT(before, 0U);
    Arena arena(kBytes);
    EXPECT_LT(resident_anonymous_bytes(), before + kBytes / 2);
    EXPECT_EQ(arena.data()[kBytes - 1], std::byte{0});
    std::memset(arena.data(), 1, kBytes);
    EXPECT_GE(resident_anonymous_bytes(), before + kBytes * 9 / 10);
}

TEST(Arena, MovesAndMayBeEmpty) {
    Arena empty(0);
    EXPECT_EQ(empty.data(), nullptr);
    Arena arena(4096);
    std::byte* data = arena.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0U);
    Arena moved(std::move(arena));
    EXPECT_EQ(moved.data(), data);
    empty = std::move(moved);
    EXPECT_EQ(empty.data(), data);
    EXPECT_EQ(empty.size(), 4096U);
}

TEST(Arena, RefusalNamesTheSizeAndExitsWithOutOfMemory) {
    for (const std::uint64_t bytes : {std::uint64_t{1} << 62U, ~std::uint64_t{0}}) {
        try {
            const Arena arena(bytes);
            FAIL() << "the system gave " << bytes << " bytes";
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), ExitCode::out_of_memory);
            EXPECT_THAT(error.what(), ::testing::HasSubstr(std::to_string(bytes)));
        }
    }
}

/// A made-up hierarchy of control groups.
class Cgroups : public ::testing::Test {
protected:
    void SetUp() override {
        root_ = fs::path(::testing::TempDir()) /
                ("cgroups_" +
                 std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
        fs::remove_all(root_);
        fs::create_directories(root_);
    }
    void TearDown() override { fs::remove_all(root_); }

    void write(const std::string& path, const std::string& text) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text << '\n';
    }
    [[nodiscard]] CgroupLimits read() const {
        return read_cgroup_limits(root_ / "membership", root_);
    }

    fs::path root_;
};

TEST_F(Cgroups, NothingToReadLimitsNothing) {
    EXPECT_FALSE(read().cpus);
    EXPECT_FALSE(read().memory_bytes);
}

TEST_F(Cgroups, Version2TakesTheSmallestOnTheWayUp) {
    write("membership", "0::/user/job");
    write("user/job/cpu.max", "400000 100000");
    write("user/cpu.max", "150000 100000");
    write("user/job/memory.max", "max");
    write("user/memory.max", "1073741824");
    EXPECT_DOUBLE_EQ(read().cpus.value(), 1.5);
    EXPECT_EQ(read().memory_bytes.value(), 1073741824U);
}

TEST_F(Cgroups, Version2WithoutALimit) {
    write("membership", "0::/job");
    write("job/cpu.max", "max 100000");
    EXPECT_FALSE(read().cpus);
}

TEST_F(Cgroups, InsideAContainerOnlyTheRootIsMounted) {
    write("membership", "0::/docker/0123456789ab");
    write("cpu.max", "200000 100000");
    EXPECT_DOUBLE_EQ(read().cpus.value(), 2.0);
}

TEST_F(Cgroups, Version1) {
    write("membership", "5:memory:/job\n4:cpu,cpuacct:/job\n3:cpuset:/job");
    write("cpu,cpuacct/job/cpu.cfs_quota_us", "250000");
    write("cpu,cpuacct/job/cpu.cfs_period_us", "100000");
    write("memory/job/memory.limit_in_bytes", "2147483648");
    write("memory/memory.limit_in_bytes", "9223372036854771712");
    EXPECT_DOUBLE_EQ(read().cpus.value(), 2.5);
    EXPECT_EQ(read().memory_bytes.value(), 2147483648U);
}

TEST_F(Cgroups, Version1WithoutALimit) {
    write("membership", "4:cpu:/job");
    write("cpu/job/cpu.cfs_quota_us", "-1");
    write("cpu/job/cpu.cfs_period_us", "100000");
    EXPECT_FALSE(read().cpus);
}

}  // namespace
}  // namespace isoflop::device
