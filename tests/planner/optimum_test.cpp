// The best use of a budget within data and memory, and the plan config that says it.
#include "isoflop/planner/optimum.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "isoflop/planner/emit_plan.hpp"
#include "isoflop/report/plan_report.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::NamedModel;
using test::plan_config_for;
using test::plan_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// A 134M model with 5B tokens of one's own, and compute for much more.
recipe::PlanKeys five_billion_tokens() {
    recipe::PlanKeys keys;
    keys.architecture = test::named_model("small", R"({"arch_preset": "llama", "n_layer": 12,
        "n_head": 12, "n_embd": 768, "vocab_size": 32000, "block_size": 2048,
        "tie_word_embeddings": false})")
                            .keys;
    keys.training_gear.gpu_type = "H100";
    keys.training_gear.num_gpus = 1;
    keys.training_gear.available_hours = 56;
    keys.training_efficiency.expected_mfu = 0.4;
    keys.dataset_constraints.dataset_size = 5'000'000'000;
    keys.dataset_constraints.sequence_length = 2048;
    return keys;
}

recipe::PlanKeys read_again(const BackwardPlan& plan) {
    return recipe::read_plan_keys(config::parse_jsonc(emit_advised_plan(plan), "best.jsonc"));
}

double training_flops(const BackwardPlan& plan) {
    return plan.tokens.n_tokens * plan.run.exact_flops_per_token;
}

TEST(DataLimitedOptimum, UsesAllTokensAndAllCompute) {
    const BackwardPlan plan = plan_of(five_billion_tokens());
    ASSERT_TRUE(plan.optimum.within_data);
    EXPECT_TRUE(plan.optimum.data_bind);
    EXPECT_FALSE(plan.optimum.memory_binds);
    const scaling_law::Optimum& best = plan.optimum.within_data->continuous;
    EXPECT_NEAR(best.n_tokens / 5e9, 1, 1e-5);
    EXPECT_GT(best.n_params, plan.optimum.exact->continuous.n_params);
    EXPECT_GT(plan.optimum.exact->continuous.n_tokens, 15e9);
    // 8e19 FLOP on 5B tokens pay for 16 GFLOP a token: 6 N and attention.
    const ShapeFamily family =
        shape_family(plan.run.config.model, 2048, scaling_law::ParameterCount::total);
    EXPECT_NEAR(family.training_flops_per_token(plan.optimum.within_data->scale) * 5e9 /
                    plan.budget.compute_flops,
                1, 1e-5);
    EXPECT_EQ(best.loss.total, scaling_law::loss(plan.law, best.n_params, best.n_tokens).total);
}

TEST(DataLimitedOptimum, IsAdvisedAsAModelThatWastesLittleOfEither) {
    const BackwardPlan plan = plan_of(five_billion_tokens());
    ASSERT_TRUE(plan.advice);
    const BackwardPlan& advised = *plan.advice->plan;
    EXPECT_LE(advised.tokens.n_tokens, 5e9);
    EXPECT_GT(advised.tokens.n_tokens, 0.9 * 5e9);
    EXPECT_GT(training_flops(advised), 0.9 * plan.budget.compute_flops);
    EXPECT_TRUE(advised.memory.fits());
    EXPECT_FALSE(advised.batch.is_unusual());
    EXPECT_LT(advised.loss.total, plan.loss.total - 0.3);
    EXPECT_NEAR(advised.loss.total, plan.optimum.best.loss.total, 0.01);
}

TEST(DataLimitedOptimum, IsSaidPlainly) {
    const BackwardPlan plan = plan_of(five_billion_tokens());
    const std::string text = report::plan_text(plan, {});
    EXPECT_THAT(text, AllOf(HasSubstr("data bind, not compute"), HasSubstr("too small"),
                            HasSubstr("this budget, within the data"),
                            HasSubstr("More unique data"), Not(HasSubstr("over-trained"))));
    EXPECT_LT(plan.optimum.exact->continuous.loss.total, plan.optimum.best.loss.total);
}

TEST(DataLimitedOptimum, FarFromTheExperimentsIsCalledExtrapolated) {
    recipe::PlanKeys keys = five_billion_tokens();
    EXPECT_THAT(report::plan_text(plan_of(keys), {}), Not(HasSubstr("extrapolated")));
    keys.dataset_constraints.dataset_size = 500'000'000;
    EXPECT_THAT(report::plan_text(plan_of(keys), {}), HasSubstr("extrapolated"));
}

// Eight times the tokens: the limit is beyond the best number of them, and changes nothing.
TEST(DataLimitedOptimum, IsThatOfComputeWhereTheDataSuffice) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.dataset_size = 40'000'000'000;
    const BackwardPlan plenty = plan_of(keys);
    keys.dataset_constraints.dataset_size.reset();
    const BackwardPlan unlimited = plan_of(keys);
    EXPECT_FALSE(plenty.optimum.within_data);
    EXPECT_FALSE(plenty.optimum.data_bind);
    EXPECT_EQ(plenty.optimum.best.n_params, unlimited.optimum.exact->continuous.n_params);
    EXPECT_EQ(plenty.advice->plan->run.parameters.total,
              unlimited.advice->plan->run.parameters.total);
    EXPECT_THAT(report::plan_text(unlimited, {}), HasSubstr("over-trained"));
}

TEST(RepeatedData, AreJudgedByTheirValue) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.max_epochs = 2;
    const BackwardPlan two = plan_of(keys);
    EXPECT_TRUE(two.optimum.data_bind);
    EXPECT_NEAR(two.optimum.best.n_tokens / 10e9, 1, 1e-5);
    keys.dataset_constraints.max_epochs = 1000;
    const BackwardPlan many = plan_of(keys);
    EXPECT_FALSE(many.optimum.data_bind);
    const double epochs = many.optimum.best.n_tokens / 5e9;
    EXPECT_GT(epochs, 2);
    EXPECT_LT(many.optimum.best.n_tokens, many.optimum.exact->continuous.n_tokens)
        << "repeated tokens are worth less than parameters";
    // No other scale is better.
    const ShapeFamily family =
        shape_family(many.run.config.model, 2048, scaling_law::ParameterCount::total);
    for (const double factor : {0.7, 0.95, 1.05, 1.4}) {
        const double scale = many.optimum.within_data->scale * factor;
        const double n_tokens = many.budget.compute_flops / family.training_flops_per_token(scale);
        EXPECT_GT(scaling_law::loss_with_repetition(many.law, family.n_params(scale), n_tokens, 5e9)
                      .total,
                  many.optimum.best.loss.total);
    }
}

TEST(RepeatedData, LeaveThePredictedLossAndShowTheOther) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.max_epochs = 4;
    const BackwardPlan plan = plan_of(keys);
    EXPECT_EQ(plan.tokens.n_tokens, 20e9);
    const double n = static_cast<double>(plan.run.parameters.total);
    EXPECT_EQ(plan.loss.total, scaling_law::loss(plan.law, n, 20e9).total);
    EXPECT_NEAR(plan.tokens.effective / 5e9, 3.726, 0.0005);
    EXPECT_EQ(plan.loss_with_repetition.total,
              scaling_law::loss(plan.law, n, plan.tokens.effective).total);
    EXPECT_DOUBLE_EQ(plan.optimum.loss_gap,
                     plan.loss_with_repetition.total - plan.optimum.best.loss.total);
    EXPECT_THAT(report::plan_text(plan, {}), HasSubstr("with repetition valued"));
}

TEST(RepeatedData, BeyondTwentyEpochsAreWarnedOf) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.max_epochs = 19;
    EXPECT_THAT(plan_of(keys).warnings, Not(Contains(HasSubstr("overfit"))));
    keys.training_gear.available_hours = 560;
    keys.dataset_constraints.max_epochs = 21;
    EXPECT_THAT(plan_of(keys).warnings, Contains(HasSubstr("overfit")));
}

TEST(MemoryLimitedOptimum, IsTheLargestModelThatFits) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.training_gear.gpu_type = "RTX-4090";
    keys.training_gear.available_hours = 336;
    const BackwardPlan plan = plan_of(keys);
    EXPECT_TRUE(plan.optimum.memory_binds);
    EXPECT_TRUE(plan.optimum.data_bind);
    ASSERT_TRUE(plan.advice);
    const recipe::MemoryFit& memory = plan.advice->plan->memory;
    EXPECT_TRUE(memory.fits());
    EXPECT_LT(static_cast<double>(memory.headroom_bytes()),
              0.1 * static_cast<double>(memory.capacity_bytes));
    EXPECT_EQ(plan.optimum.best.n_params, parameters_of_law(*plan.advice->plan));
    EXPECT_THAT(limit_text(plan), HasSubstr("data and memory bind, not compute"));
    keys.dataset_constraints.dataset_size.reset();
    keys.training_gear.available_hours = 50000;
    EXPECT_THAT(limit_text(plan_of(keys)), HasSubstr("memory binds"));
}

TEST(MemoryLimitedOptimum, IsNoneWhereNothingFits) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.architecture.vocab_size = 100'000'000;
    const BackwardPlan plan = plan_of(keys);
    EXPECT_FALSE(plan.advice);
    EXPECT_THAT(limit_text(plan), HasSubstr("no model of this family"));
    EXPECT_THAT(test::refusal([&] { return emit_advised_plan(plan); }), HasSubstr("--emit-plan"));
    EXPECT_THAT(report::plan_text(plan, {}), Not(HasSubstr("Advised")));
}

// 1e15 parameters on as many GPUs need little of each, but their FLOPs are not countable.
TEST(OptimumBeyondRealArchitectures, IsNotLaidToTheMemory) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.dataset_size.reset();
    keys.training_gear.num_gpus = 10'000'000;
    keys.training_gear.available_hours = 1e7;
    keys.dataset_constraints.sequence_length = 16384;
    const BackwardPlan plan = plan_of(keys);
    ASSERT_FALSE(plan.optimum.exact.value().on_grid);
    EXPECT_FALSE(plan.optimum.memory_binds);
    EXPECT_THAT(limit_text(plan),
                HasSubstr("no real architecture of this size could be planned: its FLOPs"));
    EXPECT_EQ(report::plan_json(plan)["optimum"]["unplanned"].get<std::string>(),
              plan.optimum.unplanned);
    keys.training_gear.num_gpus = 8;
    keys.training_gear.available_hours = 24;
    EXPECT_EQ(plan_of(keys).optimum.unplanned, "");
}

/// A loss that the 134M model reaches on H100s, the hours solved for.
recipe::PlanKeys loss_of_three() {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.dataset_constraints.dataset_size.reset();
    keys.training_gear.available_hours = config::Solvable<double>::solve();
    keys.scaling_law.target_loss = 2.6;
    return keys;
}

TEST(CheapestForALoss, IsNamedAndEmitted) {
    const BackwardPlan plan = plan_of(loss_of_three());
    ASSERT_TRUE(plan.cheapest);
    ASSERT_TRUE(plan.cheapest_advice);
    const BackwardPlan again = plan_of(read_again(plan));
    EXPECT_EQ(again.solution.target_loss, plan.solution.target_loss);
    EXPECT_NEAR(again.loss.total, 2.6, 1e-9);
    EXPECT_NEAR(parameters_of_law(again) / plan.cheapest->n_params, 1, 0.2);
    EXPECT_NEAR(again.budget.compute_flops / plan.cheapest->compute_flops, 1, 0.02);
    EXPECT_LT(again.budget.hours, plan.budget.hours);
    EXPECT_THAT(report::plan_text(plan, {}), HasSubstr("--emit-plan writes it"));
    EXPECT_EQ(report::plan_json(plan)["solved"]["cheapest"]["advised"]["n_params"],
              again.run.parameters.total);
}

// 16 heads for each key/value head made the smallest width 2048: loss 3.448.
TEST(SmallBudgetOfALargeArchitecture, IsRoundedToTheNeighbourhoodOfTheOptimum) {
    recipe::PlanKeys keys = recipe::read_plan_keys(
        test::source_path("configs/plan/auto.jsonc"),
        std::vector<std::string>{
            "architecture=" + test::source_path("configs/models/llama3_405b.jsonc").string(),
            "gpu_type=L4", "num_gpus=7", "available_hours=1"});
    const BackwardPlan plan = plan_of(keys);
    ASSERT_TRUE(plan.advice);
    EXPECT_LT(plan.advice->plan->loss.total, plan.optimum.best.loss.total + kNegligibleLoss);
    const std::string text = report::plan_text(plan_of(read_again(plan)), {});
    EXPECT_THAT(text, HasSubstr("at the optimum"));
}

TEST(OptimumByAnotherConvention, IsThatOfTheAdvice) {
    for (const cost::Convention convention : {cost::Convention::kaplan, cost::Convention::six_nd}) {
        recipe::PlanKeys keys = five_billion_tokens();
        keys.training_efficiency.flop_convention = convention;
        const BackwardPlan plan = plan_of(keys);
        const BackwardPlan again = plan_of(read_again(plan));
        EXPECT_NEAR(again.optimum.best.n_params / plan.optimum.best.n_params, 1, 0.05);
        EXPECT_NEAR(again.loss_with_repetition.total, plan.optimum.best.loss.total, 0.01);
        EXPECT_THAT(report::plan_text(again, {}), HasSubstr("at the optimum"));
    }
}

TEST(AdviceThatRecomputes, HasTheTimeOfRecomputation) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.training_gear.gpu_type = "RTX-4090";
    keys.training_gear.available_hours = 336;
    const BackwardPlan plan = plan_of(keys);
    ASSERT_TRUE(plan.advice);
    ASSERT_EQ(plan.advice->plan->run.config.execution.recompute, cost::Recompute::block);
    EXPECT_NEAR(plan.advice->plan->budget.mfu * (1 + plan.advice->slowdown), plan.budget.mfu, 1e-3);
    EXPECT_GE(plan.advice->slowdown, recipe::recompute_slowdown(cost::Recompute::block));
    EXPECT_THAT(report::plan_text(plan, {}), HasSubstr("Advised MFU"));
}

TEST(AbsurdConstants, ArePrintedReadably) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.scaling_law.A = 1e-12;
    keys.scaling_law.B = 1e12;
    const std::string text = report::plan_text(plan_of(keys), {});
    EXPECT_THAT(text, Not(::testing::ContainsRegex("[0-9]{14}")));
    EXPECT_THAT(text, HasSubstr("e+"));
}

class AdviceFor : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, AdviceFor, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(AdviceFor, ResizedKeysAreTheMember) {
    const model::ModelConfig& given = GetParam().config;
    for (const double scale : {0.5, 1.0, 1.7, 3.0}) {
        const auto layers = static_cast<std::int64_t>(
            std::ceil(static_cast<double>(given.num_hidden_layers) * scale));
        const model::ModelConfig member = grid_member(given, scale, layers);
        const model::ModelConfig read = model::resolve(resized(GetParam().keys, member));
        EXPECT_EQ(model::parameter_layout(read).totals().by_component,
                  model::parameter_layout(member).totals().by_component)
            << scale;
        EXPECT_EQ(read.sliding_window, member.sliding_window);
        EXPECT_EQ(read.num_window_layers(), member.num_window_layers());
        EXPECT_EQ(read.model_type, given.model_type);
    }
}

TEST_P(AdviceFor, EmittedPlanIsTheAdvice) {
    recipe::PlanKeys keys = plan_config_for(GetParam());
    keys.dataset_constraints.dataset_size = 300'000'000;
    keys.dataset_constraints.max_epochs = 2.5;
    const BackwardPlan plan = plan_of(keys);
    ASSERT_TRUE(plan.advice);
    const BackwardPlan again = plan_of(read_again(plan));
    EXPECT_EQ(again.run.parameters.total, plan.advice->plan->run.parameters.total);
    EXPECT_EQ(again.tokens.n_tokens, plan.advice->plan->tokens.n_tokens);
    EXPECT_EQ(again.loss.total, plan.advice->plan->loss.total);
    EXPECT_EQ(again.run.memory.total_bytes(), plan.advice->plan->memory.planned_bytes);
    if (plan.memory.fits() || plan.memory.change) {
        EXPECT_LE(again.loss_with_repetition.total, plan.loss_with_repetition.total);
    }
    EXPECT_THAT(again.warnings, Not(Contains(HasSubstr("assumed"))));
    EXPECT_FALSE(again.run.attention.fell_back());
}

TEST(EmittedAdvice, CarriesEveryKeyOfThePlan) {
    recipe::PlanKeys keys = five_billion_tokens();
    keys.training_gear.peak_flops_per_gpu = 9.5e14;
    keys.training_efficiency.flop_convention = cost::Convention::palm;
    keys.training_efficiency.loss_chunk = 512;
    keys.dataset_constraints.max_epochs = 1.25;
    keys.scaling_law.base = "besiroglu_2024";
    keys.scaling_law.E = 1.81;
    keys.output_options.verify_calculations = false;
    const recipe::PlanKeys again = read_again(plan_of(keys));
    EXPECT_EQ(again.training_gear.peak_flops_per_gpu, 9.5e14);
    EXPECT_EQ(again.training_efficiency.flop_convention, cost::Convention::palm);
    EXPECT_EQ(again.training_efficiency.loss_chunk, 512);
    EXPECT_EQ(again.dataset_constraints.dataset_size, 5'000'000'000);
    EXPECT_EQ(again.dataset_constraints.max_epochs, 1.25);
    EXPECT_EQ(again.scaling_law.base, "besiroglu_2024");
    EXPECT_EQ(again.scaling_law.E, 1.81);
    EXPECT_FALSE(again.output_options.verify_calculations);
    EXPECT_THAT(again.notes, IsEmpty());
}

}  // namespace
}  // namespace isoflop::planner
