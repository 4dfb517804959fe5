// Sweeps: axes as users write them, and rows that equal single plans.
#include "isoflop/planner/sweep.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::plan_config;
using test::refusal;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<SweepRow> rows_of(const recipe::PlanKeys& base, const std::vector<SweepAxis>& axes) {
    std::vector<SweepRow> rows;
    sweep(base, axes, hardware::GpuTable::builtin(),
          [&](const SweepRow& row) { rows.push_back(row); });
    return rows;
}

TEST(SweepAxis, ListsValuesAsWritten) {
    const SweepAxis axis = parse_axis("training_gear.num_gpus=8,16,1024");
    EXPECT_EQ(axis.path, "training_gear.num_gpus");
    EXPECT_THAT(axis.values, ElementsAre("8", "16", "1024"));
}

TEST(SweepAxis, TakesBareKeysAndAliases) {
    EXPECT_EQ(parse_axis("num_gpus=8").path, "training_gear.num_gpus");
    EXPECT_EQ(parse_axis("n_layer=8").path, "architecture.num_hidden_layers");
}

TEST(SweepAxis, ExpandsRangesInclusively) {
    EXPECT_THAT(parse_axis("num_gpus=2..5").values, ElementsAre("2", "3", "4", "5"));
    EXPECT_THAT(parse_axis("num_gpus=8..32:8").values, ElementsAre("8", "16", "24", "32"));
    EXPECT_THAT(parse_axis("num_gpus=8..30:8").values, ElementsAre("8", "16", "24"));
    EXPECT_THAT(parse_axis("num_gpus=7..7").values, ElementsAre("7"));
    EXPECT_THAT(parse_axis("num_gpus=1,4..6,9").values, ElementsAre("1", "4", "5", "6", "9"));
}

// 0.1 has no exact double; the last value must not be lost to rounding.
TEST(SweepAxis, ExpandsFractionalSteps) {
    const SweepAxis axis = parse_axis("expected_mfu=0.3..0.6:0.1");
    ASSERT_EQ(axis.values.size(), 4U);
    EXPECT_NEAR(std::stod(axis.values.back()), 0.6, 1e-12);
}

TEST(SweepAxis, RefusesRangesThatAreNone) {
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=8..2"); }), HasSubstr("ascending"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1..8:0"); }), HasSubstr("ascending"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1..8:-1"); }), HasSubstr("ascending"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=a..8"); }),
                HasSubstr("'a' is not a number"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1..8:x"); }),
                HasSubstr("'x' is not a number"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1.."); }), HasSubstr("not a number"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=nan..8"); }), HasSubstr("not a number"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1..inf"); }), HasSubstr("not a number"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus="); }), HasSubstr("no values"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus"); }), HasSubstr("key=value"));
    EXPECT_THAT(refusal([] { return parse_axis("num_gpus=1..1e12"); }), HasSubstr("points"));
    EXPECT_THAT(refusal([] { return parse_axis("expected_mfu=0..1:1e-300"); }),
                HasSubstr("points"));
}

TEST(SweepAxis, CommasWithinBracketsAndQuotesSeparateNothing) {
    EXPECT_THAT(parse_axis(R"(rope_scaling={"type":"linear","factor":2},null)").values,
                ElementsAre(R"({"type":"linear","factor":2})", "null"));
    EXPECT_THAT(parse_axis(R"(mlp_only_layers=[0,1],[2,[3,4]])").values,
                ElementsAre("[0,1]", "[2,[3,4]]"));
    EXPECT_THAT(parse_axis(R"(gpu_type="a,b",H100,"1..3")").values,
                ElementsAre("a,b", "H100", "1..3"));
    EXPECT_THAT(parse_axis(R"(gpu_type="a\"b,c")").values, ElementsAre("a\"b,c"));
    EXPECT_THAT(refusal([] { return parse_axis("x=[1,2"); }), HasSubstr("']' is missing"));
    EXPECT_THAT(refusal([] { return parse_axis("x=1]"); }), HasSubstr("']' closes nothing"));
    EXPECT_THAT(refusal([] { return parse_axis("x=[1}"); }), HasSubstr("'}' closes nothing"));
    EXPECT_THAT(refusal([] { return parse_axis(R"(x="a)"); }), HasSubstr("quote is not closed"));
}

TEST(SweepAxis, NamesOfModelFilesMayHaveDots) {
    EXPECT_THAT(parse_axis("architecture=../a.json,../../b.json").values,
                ElementsAre("../a.json", "../../b.json"));
}

TEST(SweepAxis, HasTheUnitOfItsKey) {
    EXPECT_EQ(parse_axis("available_hours=1").unit, "hours");
    EXPECT_EQ(parse_axis("gpu_type=H100").unit, "");
}

TEST(SweepWith, MovesWithTheAxisBeforeIt) {
    std::vector<SweepAxis> axes{parse_axis("num_gpus=8,16")};
    parse_with(axes, "available_hours=100,50");
    parse_with(axes, "gpu_type=H100,A100");
    axes.push_back(parse_axis("expected_mfu=0.3,0.4"));
    const std::vector<SweepRow> rows = rows_of(plan_config("hoffmann"), axes);
    ASSERT_EQ(rows.size(), 4U);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const BackwardPlan plan = test::plan_of(
            "hoffmann",
            i < 2 ? std::vector<std::string>{"num_gpus=8", "available_hours=100", "gpu_type=H100"}
                  : std::vector<std::string>{"num_gpus=16", "available_hours=50", "gpu_type=A100"});
        const double mfu = i % 2 == 0 ? 0.3 : 0.4;
        EXPECT_NEAR(rows[i].compute_flops, plan.budget.compute_flops / plan.budget.mfu * mfu,
                    rows[i].compute_flops * 1e-12);
    }
}

TEST(SweepWith, RefusesOtherNumbersOfValuesAndNothingToMoveWith) {
    std::vector<SweepAxis> axes;
    EXPECT_THAT(refusal([&] {
                    parse_with(axes, "num_gpus=1,2");
                    return 0;
                }),
                HasSubstr("moves with the --over before it"));
    axes.push_back(parse_axis("num_gpus=1..3"));
    EXPECT_THAT(refusal([&] {
                    parse_with(axes, "available_hours=1,2");
                    return 0;
                }),
                AllOf(HasSubstr("--with available_hours=1,2"), HasSubstr("2 values for the 3")));
    parse_with(axes, "num_gpus=4,5,6");
    EXPECT_THAT(refusal([&] { return rows_of(plan_config("hoffmann"), axes); }),
                HasSubstr("two axes have this key"));
}

TEST(Sweep, ModelFilesAreValuesOfTheArchitecture) {
    const std::string folder = test::source_path("configs/models/").string();
    const std::vector<SweepAxis> axes{
        parse_axis("num_hidden_layers=4,8"),
        parse_axis("architecture=" + folder + "llama3_8b.jsonc," + folder + "gpt2_124m.jsonc"),
        parse_axis("num_gpus=8,16")};
    const std::vector<SweepRow> rows =
        rows_of(plan_config("hoffmann", {"sequence_length=1024"}), axes);
    ASSERT_EQ(rows.size(), 8U);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const BackwardPlan plan = test::plan_of(
            "hoffmann",
            {"sequence_length=1024",
             "architecture=" + folder + (i / 2 % 2 == 0 ? "llama3_8b" : "gpt2_124m") + ".jsonc",
             i < 4 ? "num_hidden_layers=4" : "num_hidden_layers=8",
             i % 2 == 0 ? "num_gpus=8" : "num_gpus=16"});
        EXPECT_EQ(rows[i].n_params, static_cast<double>(plan.run.parameters.total)) << i;
        EXPECT_EQ(rows[i].n_tokens, plan.tokens.n_tokens) << i;
    }
}

TEST(Sweep, EqualsSinglePlansInTheOrderOfNestedLoops) {
    const std::vector<SweepAxis> axes{
        parse_axis("num_gpus=1,8,24"), parse_axis("n_layer=8,32"), parse_axis("gpu_type=H100,A100"),
        parse_axis("training_efficiency.attention_backend=manual,flash_attn_2"),
        parse_axis("dataset_size=1e9,1e13")};
    const std::vector<SweepRow> rows = rows_of(plan_config("hoffmann"), axes);
    ASSERT_EQ(rows.size(), 3U * 2 * 2 * 2 * 2);
    std::size_t index = 0;
    for (std::uint32_t a = 0; a < 3; ++a) {
        for (std::uint32_t rest = 0; rest < 16; ++rest, ++index) {
            const std::vector<std::uint32_t> indices{a, rest / 8, rest / 4 % 2, rest / 2 % 2,
                                                     rest % 2};
            const SweepRow& row = rows[index];
            ASSERT_EQ(row.value_indices, indices);
            std::vector<std::string> overrides;
            for (std::size_t axis = 0; axis < axes.size(); ++axis) {
                overrides.push_back(axes[axis].path + "=" + axes[axis].values[indices[axis]]);
            }
            const BackwardPlan plan = test::plan_of("hoffmann", overrides);
            EXPECT_EQ(row.n_params, static_cast<double>(plan.run.parameters.total));
            EXPECT_EQ(row.n_tokens, plan.tokens.n_tokens);
            EXPECT_EQ(row.compute_flops, plan.budget.compute_flops);
            EXPECT_EQ(row.predicted_loss, plan.loss_with_repetition.total);
            EXPECT_EQ(row.training_flops_per_token, plan.run.exact_flops_per_token);
            EXPECT_EQ(row.optimal_n_params, plan.optimum.best.n_params);
            EXPECT_EQ(row.optimal_loss, plan.optimum.best.loss.total);
            EXPECT_EQ(row.data_bind, plan.optimum.data_bind);
            EXPECT_EQ(row.memory_binds, plan.optimum.memory_binds);
            EXPECT_EQ(row.epochs, plan.tokens.epochs);
            EXPECT_EQ(row.memory_bytes, plan.run.memory.total_bytes());
            EXPECT_EQ(row.fits, plan.memory.fits());
            EXPECT_EQ(row.constrained, plan.tokens.constrained);
            EXPECT_EQ(row.energy_kwh, plan.cost.energy_kwh);
        }
    }
}

// The search within the memory takes a millisecond.
TEST(Sweep, OfManyPointsLeavesOutTheOptimumWhereMemoryBinds) {
    const std::vector<SweepAxis> few{parse_axis("available_hours=1000,100000")};
    const std::vector<SweepAxis> many{parse_axis("available_hours=1..100000:9.9")};
    const std::vector<SweepRow> short_rows = rows_of(plan_config("hoffmann"), few);
    EXPECT_TRUE(short_rows.back().memory_binds);
    EXPECT_TRUE(short_rows.back().optimal_loss);
    const std::vector<SweepRow> rows = rows_of(plan_config("hoffmann"), many);
    ASSERT_GT(rows.size(), kMaxSearchedPoints);
    EXPECT_TRUE(rows.front().optimal_loss);
    EXPECT_TRUE(rows.back().memory_binds);
    EXPECT_FALSE(rows.back().optimal_loss);
}

TEST(Sweep, OverNoAxesIsTheOnePlan) {
    const std::vector<SweepRow> rows = rows_of(plan_config("hoffmann"), {});
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_THAT(rows.front().value_indices, IsEmpty());
}

// A grid has corners without a plan; the others are still wanted.
TEST(Sweep, PointsWithoutAPlanAreRowsWithTheReason) {
    const std::vector<SweepRow> rows =
        rows_of(plan_config("hoffmann"),
                {parse_axis("num_gpus=8,16"), parse_axis("num_attention_heads=33,32")});
    ASSERT_EQ(rows.size(), 4U);
    for (const std::size_t refused : {0U, 2U}) {
        EXPECT_THAT(rows[refused].refusal, HasSubstr("num_attention_heads"));
        EXPECT_EQ(rows[refused + 1].refusal, "");
        EXPECT_GT(rows[refused + 1].n_tokens, 0);
    }
}

TEST(Sweep, RefusesAKeyOnTwoAxes) {
    EXPECT_THAT(refusal([] {
                    return rows_of(
                        plan_config("hoffmann"),
                        {parse_axis("num_gpus=8"), parse_axis("training_gear.num_gpus=16")});
                }),
                AllOf(HasSubstr("training_gear.num_gpus"), HasSubstr("two axes")));
}

TEST(Sweep, BadValuesAreRowsUnlessThereAreNoOthers) {
    const auto rows = rows_of(plan_config("hoffmann"), {parse_axis("num_gpus=8,-1")});
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].refusal, "");
    EXPECT_THAT(rows[1].refusal, AllOf(HasSubstr("training_gear.num_gpus"), HasSubstr("-1")));
    EXPECT_THAT(
        refusal([] { return rows_of(plan_config("hoffmann"), {parse_axis("num_gpus=-8,-1")}); }),
        AllOf(HasSubstr("training_gear.num_gpus"), HasSubstr("-8")));
}

TEST(Sweep, RefusesUnknownKeys) {
    EXPECT_THAT(refusal([] { return rows_of(plan_config("hoffmann"), {parse_axis("num_gpu=8")}); }),
                AllOf(HasSubstr("num_gpu"), HasSubstr("did you mean 'num_gpus'")));
}

TEST(Sweep, RefusesGridsThatAreTooLarge) {
    const SweepAxis axis = parse_axis("available_hours=1..2000");
    EXPECT_THAT(refusal([&] {
                    return rows_of(plan_config("hoffmann"), {axis, parse_axis("num_gpus=1..1001")});
                }),
                HasSubstr("2002000 points"));
}

}  // namespace
}  // namespace isoflop::planner
