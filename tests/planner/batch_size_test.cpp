// The usual batch and the learning rate of the batch that is used.
#include "isoflop/planner/batch_size.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "isoflop/planner/planned_training.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::plan_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

cost::Execution execution(std::int64_t sequence, std::int64_t ranks, std::int64_t micro,
                          std::int64_t accumulation) {
    cost::Execution result;
    result.sequence_length = sequence;
    result.world_size = ranks;
    result.micro_batch_size = micro;
    result.grad_accum_steps = accumulation;
    return result;
}

// Figures of the paper's rule for 1B parameters on 100B tokens and 7B on 1T.
TEST(UsualBatch, IsThePublishedOne) {
    EXPECT_NEAR(usual_batch_tokens(100e9), 1.11e6, 0.005e6);
    EXPECT_NEAR(usual_batch_tokens(1e12), 4.13e6, 0.005e6);
}

// 16.9B tokens: ln 16.9e9 = 23.5506, 0.58 exp(0.571 x 23.5506) = 401.4K. In sequences of 2048: 196,
// nearest power of two 256 (log2 196 = 7.61).
TEST(BatchAdvice, OfOneGpuAccumulatesToTheNearestPowerOfTwo) {
    const BatchAdvice advice = batch_advice(execution(2048, 1, 1, 1), 16.9e9);
    EXPECT_EQ(advice.batch_tokens, 2048);
    EXPECT_NEAR(advice.usual_tokens, 401.4e3, 0.05e3);
    EXPECT_TRUE(advice.is_unusual());
    EXPECT_EQ(advice.micro_batch_size, 1);
    EXPECT_EQ(advice.grad_accum_steps, 256);
    EXPECT_EQ(advice.advised_tokens, 256 * 2048);
}

TEST(BatchAdvice, KeepsAMicroBatchThatIsSmallEnough) {
    const BatchAdvice advice = batch_advice(execution(2048, 8, 4, 1), 16.9e9);
    EXPECT_EQ(advice.micro_batch_size, 4);
    EXPECT_EQ(advice.grad_accum_steps, 8);  // 196 / 32 = 6.1
    EXPECT_FALSE(batch_advice(execution(2048, 8, 4, 8), 16.9e9).is_unusual());
}

TEST(BatchAdvice, DividesAMicroBatchThatIsTooLarge) {
    const BatchAdvice advice = batch_advice(execution(2048, 8, 512, 3), 16.9e9);
    EXPECT_TRUE(advice.is_unusual());
    EXPECT_EQ(advice.micro_batch_size, 32);  // 196 / 8 = 24.5
    EXPECT_EQ(advice.grad_accum_steps, 1);
}

TEST(BatchAdvice, OfMoreGpusThanTheBatchHasSequencesSaysSo) {
    const cost::Execution many = execution(8192, 1024, 2, 1);
    const BatchAdvice advice = batch_advice(many, 16.9e9);
    EXPECT_EQ(advice.micro_batch_size, 1);
    EXPECT_EQ(advice.grad_accum_steps, 1);
    EXPECT_THAT(batch_warning(advice, many),
                AllOf(HasSubstr("larger"), HasSubstr("fewer GPUs or shorter sequences")));
}

TEST(BatchAdvice, CallsBatchesWithinFourTimesUsual) {
    const double usual = usual_batch_tokens(1e9);
    BatchAdvice advice{.batch_tokens = 3.9 * usual, .usual_tokens = usual};
    EXPECT_FALSE(advice.is_unusual());
    advice.batch_tokens = 4.1 * usual;
    EXPECT_TRUE(advice.is_unusual());
    advice.batch_tokens = usual / 3.9;
    EXPECT_FALSE(advice.is_unusual());
    advice.batch_tokens = usual / 4.1;
    EXPECT_TRUE(advice.is_unusual());
}

TEST(LearningRate, FallsWithTheSquareRootBelowTheUsualBatchOnly) {
    const double usual = usual_batch_tokens(100e9);
    const double law = step_law_learning_rate(1e9, 100e9);
    EXPECT_DOUBLE_EQ(matched_learning_rate(1e9, 100e9, usual), law);
    EXPECT_DOUBLE_EQ(matched_learning_rate(1e9, 100e9, 8 * usual), law);
    EXPECT_NEAR(matched_learning_rate(1e9, 100e9, usual / 4) / law, 0.5, 1e-12);
    EXPECT_NEAR(matched_learning_rate(1e9, 100e9, usual / 100) / law, 0.1, 1e-12);
}

TEST(Batch, OfAPlanIsWarnedOfWhenUnusual) {
    EXPECT_THAT(plan_of("flash").warnings, Not(Contains(HasSubstr("global batch"))));
    // 16,384 tokens where 1.71M are usual.
    EXPECT_THAT(plan_of("flash", {"gradient_accumulation_steps=1"}).warnings,
                Contains(AllOf(HasSubstr("16.38K tokens is 104 times smaller"),
                               HasSubstr("gradient_accumulation_steps=128"))));
    EXPECT_THAT(plan_of("flash", {"gradient_accumulation_steps=1024"}).warnings,
                Contains(HasSubstr("times larger")));
}

double emitted_rate(const BackwardPlan& plan) {
    const config::Document file = config::parse_jsonc(emit_planned_training(plan), "train.jsonc");
    return file.root.find("learning_rate")->as_number();
}

TEST(Batch, OfAnEmittedRunDeterminesItsLearningRate) {
    const BackwardPlan usual = plan_of("flash");
    const BackwardPlan small = plan_of("flash", {"gradient_accumulation_steps=1"});
    const double law = step_law_learning_rate(
        static_cast<double>(usual.run.parameters.non_embedding), usual.tokens.n_tokens);
    // Three digits are written.
    EXPECT_NEAR(emitted_rate(usual) / law, 1, 0.005);
    EXPECT_NEAR(emitted_rate(small) / (law * std::sqrt(small.batch.ratio())), 1, 0.005);
    EXPECT_THAT(emit_planned_training(small),
                AllOf(HasSubstr("arXiv 2205.10782"), HasSubstr("// Unusual: the global batch")));
    EXPECT_THAT(emit_planned_training(usual), Not(HasSubstr("2205.10782")));
}

}  // namespace
}  // namespace isoflop::planner
