// `train --selfcheck`: trials on the shape of a run, and the table that shows them.
#include "isoflop/machine/selfcheck.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/train_runs.hpp"

namespace isoflop::machine {
namespace {

using ::testing::HasSubstr;

TEST(SelfCheck, RunsOnTheRunsShapeAndSaysWhatItFound) {
    device::ThreadPool pool(1);
    device::Context context(pool);
    const recipe::RunPlan plan = test::plan_of(test::tiny_run());
    const attention_lab::AttentionTrials trials = check_attention(plan, context);
    const std::string text = selfcheck_text(plan, trials, text::Colour::off);
    EXPECT_THAT(text, HasSubstr("S 16, 4 heads (4 kv) x 8, fp32 on a CPU"));
    EXPECT_THAT(text, HasSubstr("ok"));
    attention_lab::AttentionTrials broken = trials;
    broken.backends[0].errors->output = 1;
    broken.backends[1] = {
        .backend = cost::AttentionBackend::sdpa, .failed = true, .reason = "the kernel failed"};
    EXPECT_THAT(selfcheck_text(plan, broken, text::Colour::off), HasSubstr("OUT"));
    EXPECT_THAT(selfcheck_text(plan, broken, text::Colour::off),
                HasSubstr("FAILED: the kernel failed"));
}

}  // namespace
}  // namespace isoflop::machine
