// Trials of attention backends on a GPU.
#include "isoflop/attention_lab/attention_trial.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/gpu_fixture.hpp"

namespace isoflop::attention_lab {
namespace {

class AttentionTrialsOnGpu : public test::GpuTest {
protected:
    [[nodiscard]] AttentionTrials run(const attention::Shape& shape, const TrialOptions& options) {
        device::Context context(pool_, *gpu_);
        return try_attention(context, shape, kAttentionBackends, options);
    }
};

TEST_F(AttentionTrialsOnGpu, BackendsAreWithinTheirTolerance) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
        for (const bool deterministic : {true, false}) {
            const AttentionTrials trials =
                run(attention::self_attention(2, 33, 2, 1, 32, deterministic),
                    {.dtype = dtype, .deterministic = deterministic, .repeats = 1});
            for (const AttentionTrial& trial : trials.backends) {
                const bool fused = trial.backend != cost::AttentionBackend::manual;
                if (fused && dtype == DType::float32) {
                    EXPECT_FALSE(trial.ran);
                    EXPECT_THAT(trial.reason, ::testing::Not(::testing::IsEmpty()));
                } else if (trial.ran) {
                    EXPECT_TRUE(trial.errors && trial.errors->worst() > 0);
                }
                EXPECT_TRUE(trial.passed())
                    << short_name(dtype) << " " << to_string(trial.backend) << " " << trial.reason
                    << " " << trial.errors.value_or(AttentionErrors{}).worst();
            }
            EXPECT_TRUE(trials.backends.back().ran) << "manual runs everything";
        }
    }
}

TEST_F(AttentionTrialsOnGpu, ShapesOfOneTokenAndOneKeyWork) {
    const AttentionTrials trials =
        run(attention::self_attention(3, 1, 2, 2, 64), {.dtype = DType::bfloat16, .repeats = 1});
    for (const AttentionTrial& trial : trials.backends)
        EXPECT_TRUE(trial.passed()) << to_string(trial.backend) << trial.reason;
}

TEST_F(AttentionTrialsOnGpu, PartOfAShapeIsCompared) {
    const AttentionTrials trials =
        run(attention::self_attention(2, 70, 2, 2, 32),
            {.dtype = DType::bfloat16, .repeats = 1, .reference_products = 7.0 * 64 * 70 * 32});
    EXPECT_EQ(trials.part, "the last 64 of 70 queries, 1 of 2 sequences, 1 of 2 key/value heads");
    for (const AttentionTrial& trial : trials.backends) {
        EXPECT_TRUE(trial.passed())
            << to_string(trial.backend) << " " << trial.errors.value_or(AttentionErrors{}).worst();
    }
}

}  // namespace
}  // namespace isoflop::attention_lab
