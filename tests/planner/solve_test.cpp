// Any two independent ones of GPUs, hours, tokens and loss determine the plan; more or fewer are
// refused.
#include "isoflop/planner/solve.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "isoflop/scaling_law/inverse.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::NamedModel;
using test::plan_config;
using test::plan_config_for;
using test::plan_of;
using test::refusal;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Gpus = config::Solvable<std::int64_t>;
using Number = config::Solvable<double>;

class SolvedPlanOf : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, SolvedPlanOf, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(SolvedPlanOf, HoursForTheTokensOfABudgetAreThoseOfTheBudget) {
    for (const auto convention : {cost::Convention::exact, cost::Convention::palm}) {
        recipe::PlanKeys keys = plan_config_for(GetParam());
        keys.training_efficiency.flop_convention = convention;
        const BackwardPlan budget = plan_of(keys);
        keys.dataset_constraints.training_tokens = budget.tokens.n_tokens;
        keys.training_gear.available_hours = Number::solve();
        const BackwardPlan solved = plan_of(keys);
        EXPECT_NEAR(solved.budget.hours / budget.budget.hours, 1.0, 1e-12);
        EXPECT_EQ(solved.tokens.n_tokens, budget.tokens.n_tokens);
        EXPECT_NEAR(solved.budget.compute_flops / budget.budget.compute_flops, 1.0, 1e-12);
        EXPECT_NEAR(solved.schedule.seconds / budget.schedule.seconds, 1.0, 1e-12);
        EXPECT_EQ(solved.loss.total, budget.loss.total);
        EXPECT_NEAR(solved.verification.relative_error, 0.0, 1e-12);
        EXPECT_FALSE(solved.tokens.constrained);
    }
}

TEST_P(SolvedPlanOf, GpusForTheTokensOfABudgetAreThoseOfTheBudget) {
    for (const std::int64_t gpus : {1, 3, 8, 1000, 10'000'000}) {
        recipe::PlanKeys keys = plan_config_for(GetParam());
        keys.training_gear.num_gpus = gpus;
        keys.training_gear.available_hours = 0.37;
        const BackwardPlan budget = plan_of(keys);
        keys.dataset_constraints.training_tokens = budget.tokens.n_tokens;
        keys.training_gear.num_gpus = Gpus();
        const BackwardPlan solved = plan_of(keys);
        EXPECT_EQ(solved.solution.num_gpus, gpus);
        EXPECT_EQ(solved.run.config.execution.world_size, gpus);
        EXPECT_EQ(solved.run.config.world_size, gpus);
        EXPECT_EQ(solved.run.memory.total_bytes(), budget.run.memory.total_bytes());
        EXPECT_EQ(solved.schedule.tokens_per_step, budget.schedule.tokens_per_step);
        EXPECT_NEAR(*solved.solution.exact_num_gpus / static_cast<double>(gpus), 1.0, 1e-12);
        EXPECT_LE(solved.budget.hours, 0.37);
        EXPECT_NEAR(solved.budget.hours / 0.37, 1.0, 1e-12);
    }
}

TEST_P(SolvedPlanOf, GpusAreRoundedUpAndTheRunEndsInTime) {
    for (const double hours : {0.01, 1.0, 24.0, 1e6}) {
        recipe::PlanKeys keys = plan_config_for(GetParam());
        keys.training_gear.num_gpus = Gpus::solve();
        keys.training_gear.available_hours = hours;
        keys.dataset_constraints.training_tokens = 1.2345e9;
        const BackwardPlan plan = plan_of(keys);
        const double exact = *plan.solution.exact_num_gpus;
        const auto gpus = static_cast<double>(plan.solution.num_gpus);
        EXPECT_GE(gpus, exact);
        EXPECT_LT(gpus - 1, exact);
        EXPECT_EQ(plan.solution.hours_limit, hours);
        EXPECT_LE(plan.budget.hours, hours);
        EXPECT_NEAR(plan.budget.hours * gpus / (exact * hours), 1.0, 1e-12);
        EXPECT_NEAR(plan.schedule.seconds / (plan.budget.hours * 3600), 1.0, 1e-12);
        EXPECT_EQ(plan.tokens.n_tokens, 1.2345e9);
        EXPECT_EQ(plan.tokens.unused_compute_flops, 0);
    }
}

TEST_P(SolvedPlanOf, ATargetLossStandsForItsTokens) {
    for (const scaling_law::Law& law : scaling_law::laws()) {
        recipe::PlanKeys keys = plan_config_for(GetParam());
        keys.scaling_law.base = law.id;
        const BackwardPlan budget = plan_of(keys);
        keys.scaling_law.target_loss = budget.loss.total;
        keys.training_gear.available_hours = Number();
        const BackwardPlan hours = plan_of(keys);
        EXPECT_NEAR(hours.loss.total / budget.loss.total, 1.0, 1e-14) << law.id;
        // The loss keeps fewer digits of the data term the smaller that is.
        const double params = static_cast<double>(law.counts == scaling_law::ParameterCount::total
                                                      ? budget.run.parameters.total
                                                      : budget.run.parameters.non_embedding);
        const double limit = scaling_law::loss_limit(law, params);
        const double tolerance = 2e-14 * budget.loss.total / (budget.loss.total - limit);
        EXPECT_NEAR(hours.tokens.n_tokens / budget.tokens.n_tokens, 1.0, tolerance) << law.id;
        EXPECT_NEAR(hours.budget.hours / budget.budget.hours, 1.0, tolerance) << law.id;

        keys.training_gear.available_hours = 24.0;
        keys.training_gear.num_gpus = Gpus();
        const BackwardPlan gpus = plan_of(keys);
        EXPECT_NEAR(*gpus.solution.exact_num_gpus / 8.0, 1.0, tolerance) << law.id;
        EXPECT_EQ(gpus.tokens.n_tokens, hours.tokens.n_tokens) << law.id;
    }
}

// An independent check of the formula, not of its inverse.
TEST(SolvedPlan, HoursFollowFromFlops) {
    const BackwardPlan plan =
        plan_of("hoffmann", {"num_gpus=64", "available_hours=solve", "training_tokens=2e12"});
    // 43306057728 FLOPs per token (the report of the plan), 45 % of 989.4 TFLOP/s.
    EXPECT_NEAR(plan.budget.hours, 2e12 * 43306057728.0 / (64 * 0.45 * 989.4e12 * 3600), 1e-9);
    EXPECT_EQ(plan.tokens.n_tokens, 2e12);
    EXPECT_NEAR(plan.budget.compute_flops / (2e12 * 43306057728.0), 1.0, 1e-14);
}

TEST(SolvedPlan, AKeyThatIsAskedForIsOneThatIsLeftOut) {
    const BackwardPlan asked =
        plan_of("hoffmann", {"training_tokens=1e11", "available_hours=solve", "target_loss=solve"});
    const BackwardPlan left_out =
        plan_of("hoffmann", {"training_tokens=1e11", "available_hours=null"});
    EXPECT_EQ(asked.budget.hours, left_out.budget.hours);
    EXPECT_EQ(asked.solution.given, left_out.solution.given);
    // A budget may ask for what it determines.
    EXPECT_TRUE(plan_of("hoffmann", {"training_tokens=solve", "target_loss=solve"})
                    .solution.is_of_budget());
}

TEST(SolvedPlan, SummaryAgreesWithTheFullPlan) {
    const recipe::PlanKeys keys = plan_config("auto", {"num_gpus=solve", "training_tokens=1e12"});
    const BackwardPlan full = plan_of(keys);
    const BackwardPlan summary = plan_of(keys, Detail::summary);
    EXPECT_EQ(summary.solution.num_gpus, full.solution.num_gpus);
    EXPECT_EQ(summary.budget.hours, full.budget.hours);
    EXPECT_EQ(summary.run.memory.total_bytes(), full.run.memory.total_bytes());
    EXPECT_EQ(summary.loss.total, full.loss.total);
}

TEST(SolvedPlan, TheWholeOfTheDataMayBeAskedFor) {
    // 0.1 x 3e9 is not 3e8 in double precision.
    const BackwardPlan plan =
        plan_of("hoffmann", {"dataset_size=3000000000", "max_epochs=0.1", "available_hours=solve",
                             "training_tokens=300000000"});
    EXPECT_EQ(plan.tokens.n_tokens, 3e8);
    EXPECT_FALSE(plan.tokens.constrained);
    EXPECT_NEAR(plan.tokens.epochs, 0.1, 1e-15);
}

TEST(SolvedPlan, WarnsOfManyEpochsAsABudgetDoes) {
    const BackwardPlan plan =
        plan_of("hoffmann", {"dataset_size=1e9", "available_hours=solve", "training_tokens=1e10"});
    EXPECT_THAT(plan.warnings, ::testing::Contains(HasSubstr("repeated 10.0 times")));
}

TEST(SolvedPlan, ATargetLossIsReachedWithRepetitionValued) {
    for (const char* unknown : {"num_gpus=solve", "available_hours=solve"}) {
        const BackwardPlan plan =
            plan_of("auto", {unknown, "dataset_size=5e9", "max_epochs=60", "target_loss=2.25"});
        EXPECT_GT(plan.tokens.epochs, 4) << unknown;
        EXPECT_NEAR(plan.loss_with_repetition.total, 2.25, 1e-12) << unknown;
        EXPECT_LT(plan.loss.total, 2.25) << unknown;
        ASSERT_TRUE(plan.cheapest) << unknown;
        EXPECT_NEAR(scaling_law::loss_with_repetition(plan.law, plan.cheapest->n_params,
                                                      plan.cheapest->n_tokens, 5e9)
                        .total,
                    2.25, 1e-12)
            << unknown;
    }
}

TEST(SolvedPlan, CheapestIsOfPlansWithATargetLossOnly) {
    EXPECT_FALSE(plan_of("hoffmann").cheapest);
    EXPECT_FALSE(plan_of("hoffmann", {"available_hours=solve", "training_tokens=1e11"}).cheapest);
    const BackwardPlan plan =
        plan_of("hoffmann", {"available_hours=solve", "target_loss=2.1", "dataset_size=null"});
    ASSERT_TRUE(plan.cheapest);
    EXPECT_LT(plan.cheapest->compute_flops, plan.budget.compute_flops);
    EXPECT_NEAR(scaling_law::loss(plan.law, plan.cheapest->n_params, plan.cheapest->n_tokens).total,
                2.1, 1e-12);
    const BackwardPlan limited = plan_of("hoffmann", {"available_hours=solve", "target_loss=2.1",
                                                      "dataset_size=440e9", "max_epochs=1"});
    ASSERT_TRUE(limited.cheapest);
    EXPECT_LE(limited.cheapest->n_tokens, 440e9);
    EXPECT_TRUE(limited.cheapest->data_limited);
}

/// The refusal of the shipped plan with these keys set.
std::string refused(const std::vector<std::string>& overrides) {
    return refusal([&] { return plan_of("hoffmann", overrides); });
}

TEST(SolveRefusal, TooManyKeysAreNamedWithTheOneToLeaveOut) {
    EXPECT_THAT(refused({"training_tokens=1e11"}),
                AllOf(HasSubstr("training_gear.num_gpus, training_gear.available_hours and "
                                "dataset_constraints.training_tokens are given"),
                      HasSubstr("leave out"), HasSubstr("available_hours (how long")));
    EXPECT_THAT(refused({"target_loss=2.1"}),
                AllOf(HasSubstr("training_gear.num_gpus, training_gear.available_hours and "
                                "scaling_law.target_loss are given"),
                      HasSubstr("or target_loss (what do")));
    for (const char* gear : {"num_gpus=solve", "available_hours=solve"}) {
        EXPECT_THAT(refused({gear, "target_loss=2.1", "training_tokens=1e11"}),
                    AllOf(HasSubstr("dataset_constraints.training_tokens and "
                                    "scaling_law.target_loss are both given"),
                          HasSubstr("leave one of them out")));
    }
}

TEST(SolveRefusal, TooFewKeysAreNamedWithThoseToAdd) {
    EXPECT_THAT(refused({"num_gpus=solve"}),
                AllOf(HasSubstr("training_gear.available_hours alone"),
                      HasSubstr("add training_gear.num_gpus"), HasSubstr("training_tokens")));
    EXPECT_THAT(refused({"available_hours=solve"}),
                AllOf(HasSubstr("training_gear.num_gpus alone"),
                      HasSubstr("add training_gear.available_hours"), HasSubstr("target_loss")));
    EXPECT_THAT(refused({"available_hours=solve", "num_gpus=solve"}),
                AllOf(HasSubstr("two of training_gear.num_gpus"), HasSubstr("none is given")));
}

TEST(SolveRefusal, TokensAloneAreAnsweredWithTheirGpuHours) {
    // 2e12 x 43306057728 / (0.45 x 989.4e12 x 3600) GPU hours.
    EXPECT_THAT(refused({"available_hours=solve", "num_gpus=solve", "training_tokens=2e12"}),
                AllOf(HasSubstr("training_tokens 2000000000000 take 54.04K GPU hours on H100"),
                      HasSubstr("add training_gear.num_gpus (how long"),
                      HasSubstr("training_gear.available_hours (how many GPUs")));
    EXPECT_THAT(refused({"available_hours=solve", "num_gpus=solve", "target_loss=2.1500317702"}),
                AllOf(HasSubstr("target_loss 2.1500317702 takes 213.19B tokens and 5.76K GPU"),
                      HasSubstr("add training_gear.num_gpus")));
}

TEST(SolveRefusal, TokensBeyondTheData) {
    const std::vector<std::string> keys = {"available_hours=solve", "dataset_size=5000000000",
                                           "max_epochs=4"};
    const auto with = [&](const std::string& tokens) {
        std::vector<std::string> all = keys;
        all.push_back("training_tokens=" + tokens);
        return refused(all);
    };
    EXPECT_THAT(with("20000000001"),
                AllOf(HasSubstr("dataset_constraints.training_tokens 20000000001"),
                      HasSubstr("dataset_size 5000000000 x max_epochs 4 = 20000000000 tokens"),
                      HasSubstr("max_epochs 4.001")));
    EXPECT_EQ(with("20000000000"), "");
    EXPECT_EQ(refused({"available_hours=solve", "dataset_size=5000000000", "max_epochs=4.001",
                       "training_tokens=20000000001"}),
              "");
}

/// The figure behind the last `before` in a text.
std::string figure_after(const std::string& text, std::string_view before) {
    const std::size_t place = text.rfind(before);
    if (place == std::string::npos) return {};
    const std::size_t start = place + before.size();
    const std::size_t end = text.find_first_not_of("0123456789.e+-", start);
    std::string figure = text.substr(start, end - start);
    while (!figure.empty() && figure.back() == '.') figure.pop_back();
    return figure;
}

TEST(SolveRefusal, LossesBelowWhatTheLawTheArchitectureOrTheDataReach) {
    const struct {
        std::vector<std::string> keys;
        std::string loss;
        const char* says;
    } cases[] = {
        {{"dataset_size=null"}, "1.69", "irreducible loss E of hoffmann_2022"},
        {{"dataset_size=null"}, "1.8", "approaches with unlimited tokens (E + A / N^alpha"},
        {{"dataset_size=null"}, "1.8738", "9e+15 tokens, the most that are counted"},
        {{"dataset_size=5e9", "max_epochs=1"}, "2.1", "all the data (dataset_size 5000000000"},
        {{"dataset_size=5e9", "max_epochs=1"}, "1.5", "all the data (dataset_size 5000000000"},
    };
    for (const auto& item : cases) {
        std::vector<std::string> keys = item.keys;
        keys.push_back("available_hours=solve");
        keys.push_back("target_loss=" + item.loss);
        const std::string message = refused(keys);
        EXPECT_THAT(message,
                    AllOf(HasSubstr("scaling_law.target_loss " + item.loss), HasSubstr(item.says)));
        // The figure that would work does, unless it takes longer than can be counted.
        keys.back() = "target_loss=" + figure_after(message, "of this architecture is ");
        EXPECT_THAT(refused(keys), Not(HasSubstr("scaling_law.target_loss"))) << keys.back();
    }
    EXPECT_THAT(refused({"available_hours=solve", "target_loss=1.5", "base=kaplan_2020", "E=null",
                         "A=null", "B=null", "alpha=null", "beta=null"}),
                HasSubstr("(Nc / N)^alpha_N of kaplan_2020"));
}

TEST(SolveRefusal, LossesThatRepetitionOfTheDataDoesNotReach) {
    // Of new tokens 300e9 would reach it; so many epochs of the data are not worth as much.
    const std::vector<std::string> keys = {"available_hours=solve", "dataset_size=5e9"};
    const auto with = [&](const std::string& epochs, const std::string& loss) {
        std::vector<std::string> all = keys;
        all.push_back("max_epochs=" + epochs);
        all.push_back("target_loss=" + loss);
        return refused(all);
    };
    const std::string message = with("60", "2.15");
    EXPECT_THAT(message, AllOf(HasSubstr("scaling_law.target_loss 2.15 is reached after"),
                               HasSubstr("unique tokens, which no repetition of the data is worth"),
                               HasSubstr("dataset_size 5000000000 x max_epochs 60")));
    const std::string loss = figure_after(message, "of this architecture is ");
    EXPECT_EQ(with("60", loss), "");
    EXPECT_THAT(with("20", loss), HasSubstr(" tokens; with all the data"));
}

TEST(SolveRefusal, LossesBeforeTheFirstToken) {
    const std::string message = refused({"available_hours=solve", "target_loss=900"});
    EXPECT_THAT(message, AllOf(HasSubstr("scaling_law.target_loss 900 is reached before"),
                               HasSubstr("give that or less")));
    EXPECT_EQ(refused({"available_hours=solve",
                       "target_loss=" + figure_after(message, "this architecture ")}),
              "");
}

TEST(SolveRefusal, MoreHoursOrGpusThanAreCounted) {
    const std::vector<std::string> hours = {"num_gpus=1", "available_hours=solve",
                                            "dataset_size=null", "training_tokens=1e15"};
    const std::string long_run = refused(hours);
    EXPECT_THAT(long_run, AllOf(HasSubstr("training_gear.available_hours would be 2.702e+07"),
                                HasSubstr("num_gpus of at least 3, or at most")));
    EXPECT_EQ(refused({"num_gpus=3", "available_hours=solve", "dataset_size=null",
                       "training_tokens=1e15"}),
              "");
    EXPECT_EQ(refused({"num_gpus=1", "available_hours=solve", "dataset_size=null",
                       "training_tokens=" + figure_after(long_run, "at most ")}),
              "");

    const std::string wide_run = refused(
        {"num_gpus=solve", "available_hours=0.5", "dataset_size=null", "training_tokens=1e15"});
    EXPECT_THAT(wide_run, HasSubstr("training_gear.num_gpus would be 5.404e+07 for 0.5 hours"));
    EXPECT_EQ(
        refused({"num_gpus=solve", "dataset_size=null", "training_tokens=1e15",
                 "available_hours=" + figure_after(wide_run, "available_hours of at least ")}),
        "");
    const std::string by_loss =
        refused({"num_gpus=solve", "available_hours=1e-6", "dataset_size=null", "target_loss=2.0"});
    EXPECT_EQ(refused({"num_gpus=solve", "available_hours=1e-6", "dataset_size=null",
                       "target_loss=" + figure_after(by_loss, "target_loss of at least ")}),
              "")
        << by_loss;
}

class SolveRefusalInAFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "isoflop-solve-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string refused(const std::string& gear, const std::string& data,
                        const std::vector<std::string>& overrides = {}) const {
        std::ofstream(folder_ / "plan.jsonc", std::ios::binary) << fmt::format(
            R"({{
  "architecture": {{"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100}},
  "training_gear": {{"gpu_type": "H100"{}}},
  "training_efficiency": {{"expected_mfu": 0.4}},
  "dataset_constraints": {{"sequence_length": 32{}}}
}})",
            gear, data);
        return refusal(
            [&] { return plan_of(recipe::read_plan_keys(folder_ / "plan.jsonc", overrides)); });
    }
    std::string at(const char* place) const {
        return (folder_ / "plan.jsonc").string() + place + ": error: ";
    }

    std::filesystem::path folder_;
};

TEST_F(SolveRefusalInAFile, PointsAtAKeyThatTheFileHas) {
    using ::testing::StartsWith;
    const std::string both = R"(, "num_gpus": 2, "available_hours": 3)";
    EXPECT_THAT(refused(both, R"(, "training_tokens": 1e9)"), StartsWith(at(":3:75")));
    EXPECT_THAT(refused(both, R"(, "training_tokens": 1e9)", {"available_hours=4"}),
                StartsWith(at(":3:53")));
    EXPECT_THAT(refused(R"(, "num_gpus": 2)", ""), StartsWith(at(":3:53")));
    EXPECT_THAT(refused("", R"(, "training_tokens": 1e9)"), StartsWith(at(":5:69")));
    EXPECT_THAT(refused("", ""), StartsWith(at(":3:20")));
    EXPECT_THAT(refused("", "", {"training_tokens=1e9"}), StartsWith(at(":3:20")));
    EXPECT_THAT(refused(R"(, "num_gpus": 2)", R"(, "training_tokens": 1e9, "dataset_size": 9)"),
                StartsWith(at(":5:69")));
    EXPECT_EQ(
        refused(R"(, "num_gpus": "solve", "available_hours": 3)", R"(, "training_tokens": 1e9)"),
        "");
}

}  // namespace
}  // namespace isoflop::planner
