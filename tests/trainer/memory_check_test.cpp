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

TEST(MemoryCheck, DecidesAsTheVerdictOfADryRun) {
    const recipe::RunPlan plan = gpu_plan(1);
    const std::uint64_t enough =
        plan.memory.arena_bytes + cost::device_overhead(plan.config.execution).later_bytes();
    for (const std::uint64_t bytes : {enough - 1, enough, enough + 1}) {
        const MemoryVerdict verdict = memory_verdict(plan, free_bytes(bytes), "a GPU");
        EXPECT_EQ(verdict.fits(), memory_need(plan, free_bytes(bytes)).fits()) << bytes;
        EXPECT_EQ(verdict.fits(), complaint(plan, bytes).empty()) << bytes;
        EXPECT_EQ(verdict.fit->planned_bytes, plan.memory.total_bytes());
    }
}

TEST(MemoryCheck, NamesAChangeThatTrainTakes) {
    const recipe::RunPlan plan = gpu_plan(4, {"batch_size=8", "gradient_accumulation_steps=4"});
    const recipe::RunPlan smaller =
        gpu_plan(4, {"batch_size=8", "gradient_accumulation_steps=4", "use_zero1=true"});
    const std::uint64_t room =
        smaller.memory.arena_bytes + cost::device_overhead(smaller.config.execution).later_bytes();
    ASSERT_LT(smaller.memory.arena_bytes, plan.memory.arena_bytes);
    EXPECT_THAT(complaint(plan, room), HasSubstr("What would fit: use_zero1=true needs"));
}

TEST(PlannedVerdict, ComparesWithTheGpuThatIsNamed) {
    const recipe::RunPlan plan = gpu_plan(1, {"gpu_type=H100"});
    const MemoryVerdict verdict = planned_verdict(plan, 1);
    if (device::count_gpus().devices > 0) GTEST_SKIP() << "a GPU is here";
    ASSERT_TRUE(verdict.fit.has_value());
    EXPECT_EQ(verdict.device, "H100-SXM");
    EXPECT_EQ(verdict.fit->planned_bytes, plan.memory.total_bytes());
    const MemoryVerdict unknown = planned_verdict(gpu_plan(1), 1);
    EXPECT_FALSE(unknown.fit.has_value());
    EXPECT_TRUE(unknown.fits());
}

TEST(PlannedVerdict, DividesTheMemoryOfAHostAmongItsRanks) {
    const recipe::RunPlan plan = plan_of(tiny_run({"device=cpu"}), 2);
    EXPECT_EQ(planned_verdict(plan, 2).fit->capacity_bytes,
              planned_verdict(plan, 1).fit->capacity_bytes / 2);
}

}  // namespace
}  // namespace isoflop::trainer
