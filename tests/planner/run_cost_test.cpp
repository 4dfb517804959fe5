// Energy and money of runs, against published figures.
#include "isoflop/planner/run_cost.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::plan_config;
using test::plan_of;
using test::refusal;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Touvron et al. 2023 (LLaMA, arXiv 2302.13971), table 15: GPU hours of A100-80GB at 400 W and a
// PUE of 1.1, and MWh rounded down to whole ones.
TEST(RunCost, ReproducesTheEnergyOfLlama) {
    struct Published {
        double gpu_hours, mwh;
    };
    recipe::PlanKeys keys;
    keys.cost_assumptions.power_share = 1;
    keys.cost_assumptions.pue = 1.1;
    const hardware::Gpu& gpu = hardware::GpuTable::builtin().at("A100-SXM-80");
    for (const Published row :
         {Published{82'432, 36}, {135'168, 59}, {530'432, 233}, {1'022'362, 449}}) {
        const RunCost cost = run_cost(keys, gpu, row.gpu_hours, 1);
        ASSERT_TRUE(cost.energy_kwh.has_value());
        EXPECT_NEAR(*cost.energy_kwh / 1000, row.mwh, 1) << row.gpu_hours;
    }
}

TEST(RunCost, CountsTheHoursOfTheSchedule) {
    const BackwardPlan plan = plan_of("hoffmann");
    EXPECT_NEAR(plan.cost.gpu_hours, 8 * 720, 1e-6);
    EXPECT_DOUBLE_EQ(plan.cost.energy_kwh.value(), plan.cost.gpu_hours * 0.7 * 0.76 * 1.1);
    // Half of the tokens are half of the time, whatever is available.
    const std::string half =
        "dataset_size=" + std::to_string(static_cast<std::int64_t>(plan.tokens.n_tokens / 2));
    const BackwardPlan limited = plan_of("hoffmann", {half, "max_epochs=1"});
    EXPECT_NEAR(limited.cost.gpu_hours, 8 * 360, 1e-3);
}

TEST(RunCost, MoneyIsGpuHoursAndEnergyAtTheirPrices) {
    EXPECT_FALSE(plan_of("hoffmann").cost.total_cost().has_value());
    const RunCost cost =
        plan_of("hoffmann", {"gpu_hour_price=2.5", "energy_price=0.2", "currency=EUR"}).cost;
    EXPECT_DOUBLE_EQ(cost.gpu_cost.value(), cost.gpu_hours * 2.5);
    EXPECT_DOUBLE_EQ(cost.energy_cost.value(), *cost.energy_kwh * 0.2);
    EXPECT_DOUBLE_EQ(cost.total_cost().value(), *cost.gpu_cost + *cost.energy_cost);
    EXPECT_EQ(cost.currency, "EUR");
}

TEST(RunCost, WithoutABoardPowerTheEnergyIsUnknown) {
    const RunCost unknown =
        plan_of("hoffmann", {"gpu_type=Trainium2", "energy_price=0.2", "gpu_hour_price=1"}).cost;
    EXPECT_FALSE(unknown.board_power_watts.has_value());
    EXPECT_FALSE(unknown.energy_kwh.has_value());
    EXPECT_FALSE(unknown.total_cost().has_value());  // a part of it is unknown
    EXPECT_TRUE(unknown.gpu_cost.has_value());
    const RunCost given = plan_of("hoffmann", {"gpu_type=Trainium2", "board_power=500"}).cost;
    EXPECT_FALSE(given.power_from_table);
    EXPECT_DOUBLE_EQ(given.energy_kwh.value(), given.gpu_hours * 0.5 * 0.76 * 1.1);
}

TEST(RunCost, RefusesWhatIsNoCurrency) {
    for (const char* currency : {"usd", "EURO", "$", "U1D", "=1+"}) {
        EXPECT_THAT(
            refusal([&] { return plan_of("hoffmann", {std::string("currency=") + currency}); }),
            AllOf(HasSubstr("cost_assumptions.currency"), HasSubstr("three capital letters"),
                  HasSubstr(currency)));
    }
}

}  // namespace
}  // namespace isoflop::planner
