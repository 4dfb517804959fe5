// The backward plan: its published example, its identities, and what it refuses.
#include "isoflop/planner/backward_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::NamedModel;
using test::plan_config;
using test::plan_config_for;
using test::plan_of;
using test::refusal;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// 8 H100 for 720 h at 45 % of 989.4 TFLOP/s. Tolerances: half a unit of the last digit given.
TEST(HoffmannExample, GivesItsKnownFigures) {
    const BackwardPlan plan = plan_of("hoffmann");
    EXPECT_EQ(plan.run.parameters.total, 6885871616);
    EXPECT_EQ(plan.budget.peak_flops_per_gpu, 989.4e12);
    EXPECT_NEAR(plan.budget.compute_flops, 9.232e21, 0.0005e21);
    EXPECT_NEAR(plan.tokens.n_tokens, 213.2e9, 0.05e9);
    EXPECT_NEAR(plan.loss.total, 2.1500, 0.00005);
    EXPECT_FALSE(plan.tokens.constrained);
    EXPECT_EQ(plan.tokens.unused_compute_flops, 0);
}

TEST(BesirogluExample, DiffersInTheLossOnly) {
    const BackwardPlan plan = plan_of("besiroglu");
    EXPECT_NEAR(plan.loss.total, 2.1494, 0.00005);
    ASSERT_TRUE(plan.loss.standard_error);
    EXPECT_GT(*plan.loss.standard_error, 0);
    EXPECT_EQ(plan.tokens.n_tokens, plan_of("hoffmann").tokens.n_tokens);
}

TEST(ShippedPlans, HaveTheSameComputeWhicheverLawTheyUse) {
    const double compute = plan_of("hoffmann").budget.compute_flops;
    ASSERT_GE(test::shipped_plans().size(), 4U);
    for (const auto& path : test::shipped_plans()) {
        const BackwardPlan plan = plan_of(path.stem().string());
        EXPECT_EQ(plan.budget.compute_flops, compute) << path;
        EXPECT_TRUE(plan.budget.peak_from_table) << path;
        EXPECT_THAT(plan.warnings, IsEmpty()) << path;
    }
}

class PlanOf : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, PlanOf, ::testing::ValuesIn(test::all_models()), test::model_name);

// The parts explain all of exact - 6ND: FLOPs per token are integers, so only the sums of doubles
// round.
TEST_P(PlanOf, DifferenceTo6ndIsTheSumOfItsParts) {
    const Verification check = plan_of(plan_config_for(GetParam())).verification;
    EXPECT_NEAR(check.input_embedding + check.vectors + check.attention, check.difference(),
                1e-14 * check.exact_flops);
    EXPECT_LE(check.input_embedding, 0);
    EXPECT_LE(check.vectors, 0);
    EXPECT_GT(check.attention, 0);
}

TEST_P(PlanOf, ComputeIsRecoveredFromTokens) {
    const BackwardPlan plan = plan_of(plan_config_for(GetParam()));
    // A product and a quotient of doubles.
    EXPECT_NEAR(plan.tokens.n_tokens * plan.run.exact_flops_per_token / plan.budget.compute_flops,
                1.0, 1e-15);
    EXPECT_NEAR(plan.verification.relative_error, 0.0, 1e-14);
}

TEST_P(PlanOf, DataLimitSplitsComputeIntoUsedAndUnused) {
    recipe::PlanKeys config = plan_config_for(GetParam());
    config.dataset_constraints.dataset_size = 1'000'000;
    config.dataset_constraints.max_epochs = 2.5;
    const BackwardPlan plan = plan_of(config);
    ASSERT_TRUE(plan.tokens.constrained);
    EXPECT_EQ(plan.tokens.n_tokens, 2.5e6);
    EXPECT_EQ(plan.tokens.epochs, 2.5);
    EXPECT_EQ(plan.tokens.data_limited, 2.5e6);
    const double used = plan.tokens.n_tokens * plan.run.exact_flops_per_token;
    EXPECT_NEAR((used + plan.tokens.unused_compute_flops) / plan.budget.compute_flops, 1.0, 1e-14);
    EXPECT_GT(plan.tokens.compute_limited, plan.tokens.n_tokens);
    EXPECT_NEAR(plan.verification.relative_error, 0.0, 1e-14);
}

TEST_P(PlanOf, ScheduleAddsUp) {
    recipe::PlanKeys config = plan_config_for(GetParam());
    config.training_efficiency.batch_size = 3;
    config.training_efficiency.gradient_accumulation_steps = 5;
    const BackwardPlan plan = plan_of(config);
    const Schedule& schedule = plan.schedule;
    EXPECT_EQ(schedule.sequences_per_step, 3 * 5 * 8);
    EXPECT_EQ(schedule.tokens_per_step, 3 * 5 * 8 * 128);
    EXPECT_GE(schedule.steps * schedule.tokens_per_step, plan.tokens.n_tokens);
    EXPECT_LT((schedule.steps - 1) * schedule.tokens_per_step, plan.tokens.n_tokens);
    // All compute is used, so the run takes the hours it was given.
    EXPECT_NEAR(schedule.seconds / (24 * 3600), 1.0, 1e-14);
    EXPECT_NEAR(schedule.tokens_per_second_per_gpu * 8 / schedule.tokens_per_second, 1.0, 1e-15);
    EXPECT_NEAR(schedule.seconds_per_step * schedule.tokens_per_second / schedule.tokens_per_step,
                1.0, 1e-15);
}

TEST_P(PlanOf, SummaryAgreesWithTheFullPlan) {
    const recipe::PlanKeys config = plan_config_for(GetParam());
    const BackwardPlan full = plan_of(config);
    const BackwardPlan summary =
        backward_plan(config, hardware::GpuTable::builtin(), Detail::summary);
    EXPECT_EQ(summary.run.parameters.total, full.run.parameters.total);
    EXPECT_EQ(summary.tokens.n_tokens, full.tokens.n_tokens);
    EXPECT_EQ(summary.loss.total, full.loss.total);
    EXPECT_EQ(summary.run.memory.total_bytes(), full.run.memory.total_bytes());
    EXPECT_EQ(summary.optimum.six_nd.n_params, full.optimum.six_nd.n_params);
}

// One run, described by its MFU under each convention: the same tokens, time and exact compute.
TEST_P(PlanOf, IsTheSameForOneMfuInEveryConvention) {
    recipe::PlanKeys keys = plan_config_for(GetParam());
    keys.training_efficiency.expected_mfu = 0.25;
    const BackwardPlan exact = plan_of(keys);
    EXPECT_EQ(exact.budget.counted_flops, exact.budget.compute_flops);
    for (const cost::Convention convention :
         {cost::Convention::palm, cost::Convention::megatron, cost::Convention::titan,
          cost::Convention::kaplan, cost::Convention::six_nd}) {
        SCOPED_TRACE(to_string(convention));
        const double counted =
            exact.run.convention_flops_per_token[static_cast<std::size_t>(convention)];
        keys.training_efficiency.flop_convention = convention;
        keys.training_efficiency.expected_mfu = 0.25 * counted / exact.run.exact_flops_per_token;
        for (const Detail detail : {Detail::full, Detail::summary}) {
            const BackwardPlan plan = plan_of(keys, detail);
            EXPECT_EQ(plan.run.model_flops_per_token, counted);
            EXPECT_DOUBLE_EQ(plan.budget.compute_flops, exact.budget.compute_flops);
            EXPECT_DOUBLE_EQ(plan.budget.counted_flops / counted,
                             exact.budget.compute_flops / exact.run.exact_flops_per_token);
            EXPECT_NEAR(plan.tokens.n_tokens / exact.tokens.n_tokens, 1, 1e-15);
            EXPECT_NEAR(plan.schedule.seconds / exact.schedule.seconds, 1, 1e-14);
            EXPECT_NEAR(plan.optimum.six_nd.n_params / exact.optimum.six_nd.n_params, 1, 1e-13);
        }
        EXPECT_NEAR(plan_of(keys).verification.relative_error, 0, 1e-12);
    }
}

TEST(DataLimit, OfTheExampleLeavesHalfOfTheComputeUnused) {
    const BackwardPlan plan = plan_of("hoffmann", {"dataset_size=50e9", "max_epochs=2"});
    EXPECT_TRUE(plan.tokens.constrained);
    EXPECT_EQ(plan.tokens.n_tokens, 100e9);
    EXPECT_EQ(plan.tokens.epochs, 2);
    const double share = plan.tokens.unused_compute_flops / plan.budget.compute_flops;
    EXPECT_NEAR(share, 1 - 100 / 213.2, 0.0003);  // D = 213.2 +- 0.05
    EXPECT_NEAR(plan.schedule.seconds / (720 * 3600), 1 - share, 1e-14);
}

TEST(DataLimit, IsNoneWithoutADatasetSize) {
    const BackwardPlan plan = plan_of(plan_config_for(test::synthetic_model("multi_head")));
    EXPECT_FALSE(plan.tokens.data_limited);
    EXPECT_EQ(plan.tokens.epochs, 0);
}

TEST(DataLimit, WarnsBeyondFourEpochs) {
    EXPECT_THAT(plan_of("hoffmann", {"dataset_size=50e9"}).warnings,
                Contains(HasSubstr("repeated 4.3 times")));
    EXPECT_THAT(plan_of("hoffmann", {"dataset_size=60e9"}).warnings, IsEmpty());
}

TEST(Peak, WithinFivePercentOfTheTableIsTakenSilently) {
    const BackwardPlan plan = plan_of("hoffmann", {"peak_flops_per_gpu=960e12"});
    EXPECT_EQ(plan.budget.peak_flops_per_gpu, 960e12);
    EXPECT_FALSE(plan.budget.peak_from_table);
    EXPECT_THAT(plan.warnings, IsEmpty());
}

TEST(Peak, FurtherOffIsUsedWithAWarning) {
    const BackwardPlan plan = plan_of("hoffmann", {"peak_flops_per_gpu=495e12"});
    EXPECT_EQ(plan.budget.peak_flops_per_gpu, 495e12);
    EXPECT_THAT(plan.warnings, Contains(HasSubstr("989.4")));
    EXPECT_THAT(plan.warnings, Not(Contains(HasSubstr("sparse"))));
}

TEST(Peak, OfTwiceTheTableIsRecognisedAsSparse) {
    EXPECT_THAT(plan_of("hoffmann", {"peak_flops_per_gpu=1979e12"}).warnings,
                Contains(HasSubstr("sparse")));
}

TEST(Refusal, UnknownGpuNamesTheClosest) {
    EXPECT_THAT(refusal([] { return plan_of("hoffmann", {"gpu_type=H1000"}); }),
                AllOf(HasSubstr("H1000"), HasSubstr("H100")));
}

TEST(Refusal, PrecisionThatTheGpuLacksListsWhatItHas) {
    EXPECT_THAT(refusal([] {
                    return plan_of("hoffmann", {"gpu_type=A100", "dtype=fp8"});
                }),
                AllOf(HasSubstr("fp8"), HasSubstr("bf16"), HasSubstr("tf32")));
}

TEST(Refusal, UnknownLawListsTheLaws) {
    EXPECT_THAT(
        refusal([] { return plan_of("auto", {"base=hofmann_2022"}); }),
        AllOf(HasSubstr("hofmann_2022"), HasSubstr("hoffmann_2022"), HasSubstr("kaplan_2020")));
}

TEST(Refusal, CustomLawNeedsAllConstants) {
    EXPECT_THAT(refusal([] {
                    return plan_of("auto", {"base=custom", "A=400"});
                }),
                HasSubstr("needs all of"));
}

TEST(Refusal, KaplanHasNoChinchillaConstants) {
    EXPECT_THAT(refusal([] { return plan_of("hoffmann", {"base=kaplan_2020"}); }),
                HasSubstr("another form"));
}

TEST(Refusal, ContextBeyondLearnedPositions) {
    recipe::PlanKeys config = plan_config_for(test::synthetic_model("plain_ffn_with_biases"));
    config.dataset_constraints.sequence_length = 301;
    EXPECT_THAT(refusal([&] { return plan_of(config); }), HasSubstr("learned position embeddings"));
    config.dataset_constraints.sequence_length = 300;
    EXPECT_EQ(refusal([&] { return plan_of(config); }), "");
}

TEST(Refusal, CountsThatWouldOverflow) {
    EXPECT_THAT(refusal([] {
                    return plan_of("hoffmann", {"batch_size=1000000", "sequence_length=100000000"});
                }),
                HasSubstr("too large to count"));
}

TEST(Refusal, MoreStepsOrTokensThanADoubleCounts) {
    EXPECT_THAT(refusal([] {
                    return plan_of("auto", {"num_gpus=10000000", "batch_size=1000",
                                            "gradient_accumulation_steps=1000000"});
                }),
                HasSubstr("too many to count"));
    recipe::PlanKeys config = plan_config_for(test::synthetic_model("multi_head"));
    config.training_gear.num_gpus = 1;
    config.training_gear.available_hours = 1e7;
    config.training_gear.peak_flops_per_gpu = 1e20;
    EXPECT_THAT(refusal([&] { return plan_of(config); }), HasSubstr("too many to count"));
}

TEST(Refusal, ComputeForLessThanOneToken) {
    EXPECT_THAT(refusal([] { return plan_of("auto", {"available_hours=1e-12"}); }),
                HasSubstr("do not pay for one token"));
    EXPECT_THAT(refusal([] {
                    return plan_of("auto", {"dataset_size=10", "max_epochs=0.05"});
                }),
                HasSubstr("less than one token"));
}

TEST(Refusal, TrafficThatWouldOverflow) {
    recipe::PlanKeys config =
        plan_config("auto", {"gradient_accumulation_steps=1000000", "num_hidden_layers=65536",
                             "hidden_size=262144", "intermediate_size=1048576",
                             "num_attention_heads=2048", "sequence_length=1"});
    EXPECT_THAT(refusal([&] { return plan_of(config); }), HasSubstr("send too many bytes"));
}

TEST(Law, ConstantsOverriddenOneByOneChangeTheLoss) {
    const BackwardPlan published = plan_of("auto");
    const BackwardPlan changed = plan_of("auto", {"E=1.5"});
    EXPECT_NEAR(published.loss.total - changed.loss.total, published.law.chinchilla.E - 1.5, 1e-12);
    EXPECT_THAT(changed.law.title, HasSubstr("overridden"));
}

TEST(Law, OverriddenConstantsHaveNoPublishedUncertainty) {
    ASSERT_TRUE(plan_of("besiroglu").law.uncertainty);
    EXPECT_FALSE(plan_of("besiroglu", {"alpha=0.3"}).law.uncertainty);
}

TEST(Law, KaplanCountsNonEmbeddingParameters) {
    const BackwardPlan plan = plan_of(plan_config("auto", {"base=kaplan_2020"}));
    const double expected =
        scaling_law::loss(plan.law, static_cast<double>(plan.run.parameters.non_embedding),
                          plan.tokens.n_tokens)
            .total;
    EXPECT_EQ(plan.loss.total, expected);
}

TEST(Execution, FollowsTheConfig) {
    const BackwardPlan plan =
        plan_of("hoffmann", {"training_efficiency.use_flash_attention=true", "recompute=block",
                             "parallelism=zero3", "gradient_dtype=fp32", "loss_chunk=1024",
                             "dtype=fp16", "batch_size=2"});
    EXPECT_EQ(plan.run.config.execution.attention_backend, cost::AttentionBackend::flash_attn_2);
    EXPECT_EQ(plan.run.config.execution.recompute, cost::Recompute::block);
    EXPECT_EQ(plan.run.config.execution.parallelism, cost::Parallelism::fsdp);
    EXPECT_EQ(plan.run.config.execution.gradient_dtype, DType::float32);
    EXPECT_EQ(plan.run.config.execution.loss_chunk, 1024);
    EXPECT_EQ(plan.run.config.execution.storage_dtype(), DType::float16);
    EXPECT_EQ(plan.run.config.execution.micro_batch_size, 2);
    EXPECT_EQ(plan.run.config.execution.world_size, 8);
}

TEST(Execution, AttentionBackendWinsOverUseFlashAttention) {
    const BackwardPlan plan =
        plan_of("hoffmann", {"attention_backend=sdpa"});  // the file says false
    EXPECT_EQ(plan.run.config.execution.attention_backend, cost::AttentionBackend::sdpa);
    EXPECT_EQ(plan_of("hoffmann").run.config.execution.attention_backend,
              cost::AttentionBackend::manual);
}

TEST(Attention, OfAPlanIsTheBackendThatTheRunFallsBackTo) {
    for (const char* dtype : {"dtype=float32", "dtype=tf32"}) {
        const BackwardPlan plan = plan_of("flash", {dtype, "peak_flops_per_gpu=1e14"});
        EXPECT_EQ(plan.run.attention.requested, recipe::AttentionChoice::flash_attn_2);
        EXPECT_EQ(plan.run.config.execution.attention_backend, cost::AttentionBackend::manual);
        EXPECT_THAT(plan.warnings, Contains(AllOf(HasSubstr("manual instead of flash_attn_2"),
                                                  HasSubstr("for bfloat16 and float16, not"))));
        const BackwardPlan manual =
            plan_of("flash", {dtype, "peak_flops_per_gpu=1e14", "attention_backend=manual"});
        EXPECT_EQ(plan.run.memory.total_bytes(), manual.run.memory.total_bytes());
        EXPECT_EQ(plan.run.convention_flops_per_token, manual.run.convention_flops_per_token);
        EXPECT_FALSE(manual.run.attention.fell_back());
    }
    const BackwardPlan odd = plan_of(test::plan_config_for(test::synthetic_model("heads_of_80")));
    EXPECT_THAT(
        odd.warnings,
        Contains(HasSubstr("flash_attn_2 and sdpa: head_dim 80 is none of 32, 64, 96, 128, 256")));
    EXPECT_NE(odd.run.memory.find(cost::BufferId::attention_probabilities), nullptr);
}

// 8-bit products keep 16-bit attention.
TEST(Attention, OfAPlanStaysAsRequestedWhereKernelsHaveIt) {
    for (const char* dtype : {"dtype=bfloat16", "dtype=float16", "dtype=float8"}) {
        for (const char* backend : {"attention_backend=flash_attn_2", "attention_backend=sdpa"}) {
            const BackwardPlan plan = plan_of("flash", {dtype, backend});
            EXPECT_FALSE(plan.run.attention.fell_back());
            EXPECT_EQ(plan.run.attention.reason, "as requested");
        }
    }
}

// Other trainers have other kernels: their plans count what they ask for.
TEST(Attention, OfModelsThatTheTrainerLacksIsTheRequestedOne) {
    for (const char* name : {"latent_attention", "experts"}) {
        recipe::PlanKeys keys = test::plan_config_for(test::synthetic_model(name));
        keys.training_gear.dtype = DType::float32;
        EXPECT_EQ(plan_of(keys).run.config.execution.attention_backend,
                  cost::AttentionBackend::flash_attn_2)
            << name;
    }
}

}  // namespace
}  // namespace isoflop::planner
