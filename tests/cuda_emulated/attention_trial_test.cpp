// Trials of attention backends, the self-check and auto's probe on a GPU: the emulated one here.
#include "isoflop/attention_lab/attention_trial.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "isoflop/attention_lab/attention_comparison.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/trainer/attention_choice.hpp"
#include "isoflop/trainer/selfcheck.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AttentionOnAGpu : public ::testing::Test {
protected:
    void SetUp() override {
        if (gpu_ == nullptr) GTEST_SKIP() << device::count_gpus().reason;
    }

    device::ThreadPool pool_{1};
    std::unique_ptr<device::Device> gpu_ = device::count_gpus().devices > 0 ? device::open_gpu({})
                                                                            : nullptr;
    device::Context context_{pool_, gpu_ ? *gpu_ : device::host_device()};
};

TEST_F(AttentionOnAGpu, BackendsAreWithinTheirTolerance) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
        for (const bool deterministic : {true, false}) {
            const attention_lab::AttentionTrials trials = attention_lab::try_attention(
                context_, attention_lab::self_attention(2, 33, 2, 1, 32, deterministic),
                attention_lab::kAttentionBackends,
                {.dtype = dtype, .deterministic = deterministic, .repeats = 1});
            for (const attention_lab::AttentionTrial& trial : trials.backends) {
                const bool fused = trial.backend != cost::AttentionBackend::manual;
                if (fused && dtype == DType::float32) {
                    EXPECT_FALSE(trial.ran);
                    EXPECT_THAT(trial.reason, ::testing::Not(::testing::IsEmpty()));
                } else if (trial.ran) {
                    EXPECT_TRUE(trial.errors && trial.errors->worst() > 0);
                }
                EXPECT_TRUE(trial.passed())
                    << short_name(dtype) << " " << to_string(trial.backend) << " " << trial.reason
                    << " " << trial.errors.value_or(attention_lab::AttentionErrors{}).worst();
            }
            EXPECT_TRUE(trials.backends.back().ran) << "manual runs everything";
        }
    }
}

TEST_F(AttentionOnAGpu, ShapesOfOneTokenAndOneKeyWork) {
    const attention_lab::AttentionTrials trials = attention_lab::try_attention(
        context_, attention_lab::self_attention(3, 1, 2, 2, 64), attention_lab::kAttentionBackends,
        {.dtype = DType::bfloat16, .repeats = 1});
    for (const attention_lab::AttentionTrial& trial : trials.backends)
        EXPECT_TRUE(trial.passed()) << to_string(trial.backend) << trial.reason;
}

TEST_F(AttentionOnAGpu, PartOfAShapeIsCompared) {
    const attention_lab::AttentionTrials trials = attention_lab::try_attention(
        context_, attention_lab::self_attention(2, 70, 2, 2, 32), attention_lab::kAttentionBackends,
        {.dtype = DType::bfloat16, .repeats = 1, .reference_products = 7.0 * 64 * 70 * 32});
    EXPECT_EQ(trials.part, "the last 64 of 70 queries, 1 of 2 sequences, 1 of 2 key/value heads");
    for (const attention_lab::AttentionTrial& trial : trials.backends) {
        EXPECT_TRUE(trial.passed())
            << to_string(trial.backend) << " "
            << trial.errors.value_or(attention_lab::AttentionErrors{}).worst();
    }
}

TEST_F(AttentionOnAGpu, SelfcheckRunsInTheRunsType) {
    const recipe::RunPlan plan =
        plan_of(tiny_run({"device=cuda", "dtype=bfloat16", "head_dim=32", "n_head=1"}));
    const attention_lab::AttentionTrials trials = check_attention(plan, context_);
    for (const attention_lab::AttentionTrial& trial : trials.backends) EXPECT_TRUE(trial.passed());
    EXPECT_THAT(selfcheck_text(plan, trials, text::Colour::off), HasSubstr("bf16 on a GPU"));
}

TEST_F(AttentionOnAGpu, AnUnknownGpuHasNoPrediction) {
    if (gpu_->info().name != "emulated GPU") GTEST_SKIP() << "the table may know this one";
    const attention_lab::AttentionComparison comparison =
        attention_lab::compare_attention(context_, {attention_lab::self_attention(1, 9, 1, 1, 32)},
                                         {.dtype = DType::float16, .repeats = 1});
    EXPECT_TRUE(comparison.passed());
    EXPECT_FALSE(comparison.shapes.front().predicted_rate);
    EXPECT_EQ(comparison.device, "emulated GPU (sm_80)");
}

TEST_F(AttentionOnAGpu, AutoMeasuresWhereBitsAreNotPromised) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                         ("isoflop_attention_probe_" + std::to_string(getpid()));
    const recipe::Recipe config =
        config_of(tiny_run({"device=cuda", "dtype=bfloat16", "head_dim=32", "n_head=1",
                            "out_dir=" + folder.string()}));
    const auto decide = [&] {
        return decide_attention(config, context_, {}, [](cost::AttentionBackend) { return true; });
    };
    const AttentionDecision first = decide();
    EXPECT_THAT(first.reason, StartsWith("measured: "));
    EXPECT_THAT(first.reason, HasSubstr("flash_attn_2"));
    const AttentionDecision second = decide();
    EXPECT_EQ(second.used, first.used);
    EXPECT_EQ(second.reason, first.reason + " (cached)");
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace isoflop::trainer
