// `train --selfcheck` on a GPU.
#include "isoflop/machine/selfcheck.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/gpu_fixture.hpp"
#include "support/train_runs.hpp"

namespace isoflop::machine {
namespace {

class SelfcheckOnGpu : public test::GpuTest {};

TEST_F(SelfcheckOnGpu, RunsInTheRunsType) {
    const recipe::RunPlan plan =
        test::plan_of(test::tiny_run({"device=cuda", "dtype=bfloat16", "head_dim=32", "n_head=1"}));
    device::Context context(pool_, *gpu_);
    const attention_lab::AttentionTrials trials = check_attention(plan, context);
    for (const attention_lab::AttentionTrial& trial : trials.backends) EXPECT_TRUE(trial.passed());
    EXPECT_THAT(selfcheck_text(plan, trials, text::Colour::off),
                ::testing::HasSubstr("bf16 on a GPU"));
}

}  // namespace
}  // namespace isoflop::machine
