// A run is refused before it starts where its buffers and what comes after them do not fit.
#include "trainer/memory_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/base/error.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

device::DeviceMemoryUse free_bytes(std::uint64_t bytes) {
    device::DeviceMemoryUse use;
    use.arena_limit = bytes;
    return use;
}

recipe::RunPlan gpu_plan(std::int64_t ranks, Overrides more = {}) {
    more.insert(more.end(), {"device=cuda", "dtype=bfloat16"});
    return plan_of(tiny_run(std::move(more)), ranks);
}

std::string complaint(const recipe::RunPlan& plan, std::uint64_t bytes) {
    try {
        check_memory(plan, free_bytes(bytes));
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::out_of_memory);
        return error.what();
    }
    return {};
}

TEST(MemoryCheck, CountsWhatIsTakenAfterTheArena) {
    const recipe::RunPlan plan = gpu_plan(1);
    const std::uint64_t later = cost::device_overhead(plan.config.execution).later_bytes();
    EXPECT_GT(later, 0U);
    EXPECT_EQ(complaint(plan, plan.memory.arena_bytes + later), "");
    EXPECT_THAT(complaint(plan, plan.memory.arena_bytes + later - 1),
                HasSubstr("about 0.12 GiB for kernels"));
    EXPECT_NE(complaint(plan, plan.memory.arena_bytes), "") << "the arena alone would fit";
}

TEST(MemoryCheck, NamesThePartsOfSeveralRanks) {
    const std::string one = complaint(gpu_plan(2), 0);
    EXPECT_THAT(one, HasSubstr("this GPU has 0"));
    EXPECT_THAT(one, HasSubstr(" of buffers, about 0.12 GiB for kernels, about 0.39 GiB for NCCL "
                               "(1 communicator)"));
    EXPECT_THAT(one, Not(HasSubstr("cuDNN")));
    const std::string hybrid = complaint(
        gpu_plan(4, {"use_fsdp=true", "fsdp_shard_size=2", "attention_backend=sdpa", "n_embd=128"}),
        0);
    EXPECT_THAT(hybrid, HasSubstr("about 64.00 MiB for cuDNN"));
    EXPECT_THAT(hybrid, HasSubstr("(3 communicators)"));
}

TEST(MemoryCheck, ComparesTheArenaAloneOnACpu) {
    const recipe::RunPlan plan = plan_of(tiny_run({"device=cpu"}), 2);
    EXPECT_EQ(complaint(plan, plan.memory.arena_bytes), "");
    const std::string text = complaint(plan, plan.memory.arena_bytes - 1);
    EXPECT_THAT(text, HasSubstr("this machine has"));
    EXPECT_THAT(text, Not(HasSubstr("NCCL")));
}

}  // namespace
}  // namespace isoflop::trainer
