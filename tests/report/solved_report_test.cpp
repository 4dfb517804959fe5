// What a report says of keys that were given and keys that were solved for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "isoflop/planner/optimum.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/report/sweep_table.hpp"
#include "report/report_test_support.hpp"
#include "support/plans.hpp"

namespace isoflop::report {
namespace {

using planner::BackwardPlan;
using test::plan_of;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(SolvedReport, PlansOfABudgetHaveNoMarks) {
    for (const std::vector<std::string>& keys :
         {std::vector<std::string>{}, {"training_tokens=solve", "target_loss=solve"}}) {
        const BackwardPlan plan = plan_of("hoffmann", keys);
        const std::string text = plan_text(plan, {});
        EXPECT_EQ(row_of(text, "GPUs"), "8 x H100-SXM");
        EXPECT_THAT(row_of(text, "Time"), AllOf(StartsWith("720 h"), EndsWith("  30.0 days")));
        EXPECT_THAT(row_of(text, "Tokens D"), EndsWith("= C / training FLOPs per token"));
        EXPECT_THAT(text, Not(HasSubstr("Target loss")));
        const auto json = plan_json(plan)["solved"];
        EXPECT_EQ(json["given"], nlohmann::ordered_json({"num_gpus", "available_hours"}));
        EXPECT_EQ(json["num_gpus"], nullptr);
        EXPECT_EQ(json["available_hours"], nullptr);
        EXPECT_EQ(json["training_tokens"].get<double>(), plan.tokens.n_tokens);
        EXPECT_EQ(json["target_loss"].get<double>(), plan.loss.total);
        EXPECT_EQ(json["cheapest"], nullptr);
    }
}

TEST(SolvedReport, MarksSolvedHours) {
    const BackwardPlan plan = plan_of("hoffmann", {"num_gpus=64", "available_hours=solve",
                                                   "training_tokens=2e12", "max_epochs=100"});
    const std::string text = plan_text(plan, {});
    EXPECT_THAT(row_of(text, "GPUs"), AllOf(StartsWith("64 x H100-SXM"), EndsWith("  given")));
    EXPECT_THAT(row_of(text, "Time"), AllOf(StartsWith("844.3"), EndsWith("35.2 days, solved")));
    EXPECT_THAT(row_of(text, "Tokens D"), AllOf(StartsWith("2.00T"), EndsWith("  given")));
    const auto json = plan_json(plan);
    EXPECT_EQ(json["solved"]["given"], nlohmann::ordered_json({"num_gpus", "training_tokens"}));
    EXPECT_EQ(json["solved"]["available_hours"].get<double>(), plan.budget.hours);
    EXPECT_EQ(json["solved"]["training_tokens"], nullptr);
    EXPECT_EQ(json["solved"]["exact_num_gpus"], nullptr);
    EXPECT_EQ(json["hardware"]["available_hours"].get<double>(), plan.budget.hours);
    EXPECT_EQ(json["constrained"], false);
}

TEST(SolvedReport, QuietReportsHaveGpusAndHoursWhereOneIsSolvedFor) {
    PlanTextOptions quiet;
    quiet.quiet = true;
    const BackwardPlan solved =
        plan_of("hoffmann", {"num_gpus=64", "available_hours=solve", "training_tokens=2e12"});
    EXPECT_THAT(plan_text(solved, quiet), StartsWith("GPUs 64\nhours 844.329\nN 6.89B\nD 2.00T\n"));
    EXPECT_THAT(plan_text(plan_of("hoffmann"), quiet), StartsWith("N 6.89B\n"));
}

TEST(SolvedReport, MarksSolvedGpusWithTheExactFigureAndTheTimeUsed) {
    const BackwardPlan plan =
        plan_of("hoffmann", {"num_gpus=solve", "training_tokens=2e11", "parallelism=fsdp"});
    const std::string text = plan_text(plan, {});
    // 8 GPUs make 213.19B tokens in that time: 2e11 / 213.187e9 x 8 GPUs.
    EXPECT_THAT(row_of(text, "GPUs"),
                AllOf(StartsWith("8 x H100-SXM"), EndsWith("solved: 7.50515, rounded up")));
    EXPECT_THAT(row_of(text, "Time"),
                AllOf(StartsWith("675.463 h"), EndsWith("28.1 days, of 720 h given")));
    const auto json = plan_json(plan)["solved"];
    EXPECT_EQ(json["num_gpus"], 8);
    EXPECT_EQ(json["exact_num_gpus"].get<double>(), *plan.solution.exact_num_gpus);
    EXPECT_EQ(json["hours_limit"], 720);
    EXPECT_EQ(json["available_hours"], nullptr);
}

TEST(SolvedReport, AnswersWhatReachesALossCheapest) {
    const BackwardPlan plan = plan_of("hoffmann", {"available_hours=solve", "target_loss=2.1"});
    const std::string text = plan_text(plan, {});
    EXPECT_THAT(row_of(text, "Target loss"), AllOf(StartsWith("2.1"), EndsWith("  given")));
    EXPECT_THAT(row_of(text, "Loss"), StartsWith("2.1000"));
    EXPECT_THAT(row_of(text, "Tokens D"), EndsWith("they reach the target loss"));
    EXPECT_THAT(row_of(text, "Cheapest for this loss"), HasSubstr("same proportions x "));
    const auto json = plan_json(plan);
    const auto cheapest = json["solved"]["cheapest"];
    EXPECT_EQ(cheapest["data_limited"], false);
    EXPECT_NEAR(cheapest["compute_ratio"].get<double>() * cheapest["compute_flops"].get<double>() /
                    json["compute_flops"].get<double>(),
                1.0, 1e-14);
    // GPU hours at the rate of the plan.
    EXPECT_NEAR(cheapest["gpu_hours"].get<double>() * cheapest["compute_ratio"].get<double>() /
                    (8 * plan.budget.hours),
                1.0, 1e-14);
    EXPECT_THAT(text, HasSubstr("GPU hours; this plan takes"));
}

TEST(SolvedReport, SaysWhenTheCheapestModelFitsTheGpusInNoExecution) {
    const auto on = [](const char* gpus) {
        return plan_of("hoffmann",
                       {"gpu_type=RTX4090", gpus, "available_hours=solve", "target_loss=2.2"});
    };
    const BackwardPlan one = on("num_gpus=1"), many = on("num_gpus=64");
    ASSERT_TRUE(one.cheapest && many.cheapest && one.advice);
    EXPECT_GT(one.cheapest->n_params, planner::parameters_of_law(*one.advice->plan));
    EXPECT_THAT(plan_text(one, {}), HasSubstr("does not fit these"));
    EXPECT_EQ(plan_json(one)["solved"]["cheapest"]["fits"], false);
    EXPECT_EQ(one.cheapest->n_params, many.cheapest->n_params);
    EXPECT_THAT(row_of(plan_text(many, {}), "Cheapest for this loss"),
                Not(HasSubstr("does not fit")));
    EXPECT_EQ(plan_json(many)["solved"]["cheapest"]["fits"], true);
}

TEST(SolvedReport, SaysWhenTheDataBindTheCheapestModel) {
    const BackwardPlan plan = plan_of("hoffmann", {"available_hours=solve", "target_loss=2.1",
                                                   "dataset_size=440e9", "max_epochs=1"});
    EXPECT_THAT(plan_text(plan, {}), HasSubstr("all the data; more would be cheaper"));
    EXPECT_EQ(plan_json(plan)["solved"]["cheapest"]["data_limited"], true);
}

TEST(SolvedReport, SweepsHaveAColumnOfWhatIsSolvedFor) {
    const std::vector<planner::SweepAxis> axes{{"t", {"1"}}};
    planner::SweepRow row;
    row.value_indices = {0};
    row.num_gpus = 512;
    row.hours = 1234.5;
    std::string budget, hours, both;
    SweepTable(axes).append_row(budget, row);
    EXPECT_THAT(budget, AllOf(Not(HasSubstr("512")), Not(HasSubstr("1234"))));
    const SweepTable of_hours(axes, {.num_gpus = false, .available_hours = true});
    of_hours.append_row(hours, row);
    EXPECT_THAT(hours, AllOf(Not(HasSubstr("512")), HasSubstr("1234  ")));
    EXPECT_EQ(of_hours.header().find("hours") + 5, hours.find("1234") + 4);
    const SweepTable of_both(axes, {.num_gpus = true, .available_hours = true});
    of_both.append_row(both, row);
    EXPECT_EQ(of_both.header().find("GPUs") + 4, both.find("512") + 3);
    std::string json;
    SweepTable(axes).append_json(json, row);
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["num_gpus"], 512);
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["available_hours"], 1234.5);
}

/// Log-uniform between the bounds.
double between(std::mt19937_64& random, double low, double high) {
    return std::exp(std::uniform_real_distribution<double>(std::log(low), std::log(high))(random));
}

// Any pair of keys of any size is either refused or printed, without infinities, as a plan that
// keeps to what was given.
TEST(RandomSolvedPlans, KeepToTheirKeysOrAreRefused) {
    std::mt19937_64 random(20261130);
    const std::vector<test::NamedModel> models = test::all_models();
    const auto laws = scaling_law::laws();
    int planned = 0;
    for (int i = 0; i < 2000; ++i) {
        recipe::PlanKeys config = test::plan_config_for(models[random() % models.size()]);
        config.scaling_law.base = laws[random() % laws.size()].id;
        auto& gear = config.training_gear;
        gear.num_gpus = {};
        gear.available_hours = {};
        if (random() % 2 == 0)
            gear.num_gpus = static_cast<std::int64_t>(between(random, 1, 1e7));
        else
            gear.available_hours = between(random, 1e-6, 1e7);
        if (random() % 2 == 0)
            config.dataset_constraints.training_tokens = between(random, 1, 9e15);
        else
            config.scaling_law.target_loss = between(random, 1, 20);
        if (random() % 2 == 0) config.dataset_constraints.dataset_size = 1'000'000'000'000;
        try {
            const BackwardPlan plan = test::plan_of(config);
            const std::string text = plan_text(plan, {});
            ASSERT_FALSE(mentions_no_number(text)) << text;
            ASSERT_FALSE(has_non_finite(plan_json(plan))) << text;
            ASSERT_EQ(plan.solution.num_gpus, gear.num_gpus.value_or(plan.solution.num_gpus));
            ASSERT_LE(plan.budget.hours, gear.available_hours.value_or(1e300));
            ASSERT_LE(plan.tokens.n_tokens, plan.tokens.data_limited.value_or(1e300) * (1 + 1e-12));
            if (plan.cheapest) {
                ASSERT_LE(plan.cheapest->compute_flops, plan.budget.compute_flops * (1 + 1e-9));
                ASSERT_LE(plan.cheapest->n_tokens, plan.tokens.data_limited.value_or(1e300));
            }
            ++planned;
        } catch (const ConfigError&) {
            // refused, with a message that other tests read
        }
    }
    EXPECT_GT(planned, 500);
}

}  // namespace
}  // namespace isoflop::report
