// The picture of a plan: its curve has its minimum at the optimum and passes through the plan, and
// its labels show the numbers of the text report.
#include "isoflop/report/plan_plot.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "isoflop/base/text.hpp"
#include "support/plans.hpp"

namespace isoflop::report {
namespace {

using planner::BackwardPlan;
using ::testing::HasSubstr;
using ::testing::Not;

struct Pixel {
    double x = 0, y = 0;
};

std::vector<Pixel> curve_of(const std::string& svg) {
    std::smatch match;
    if (!std::regex_search(svg, match, std::regex("polyline class=\"curve\" points=\"([^\"]*)\"")))
        return {};
    std::vector<Pixel> curve;
    std::istringstream points(match[1]);
    char comma = 0;
    for (Pixel point; points >> point.x >> comma >> point.y;) curve.push_back(point);
    return curve;
}

Pixel mark_of(const std::string& svg, const std::string& name) {
    std::smatch match;
    const std::regex circle("circle class=\"" + name + "\" cx=\"([0-9.]+)\" cy=\"([0-9.]+)\"");
    if (!std::regex_search(svg, match, circle)) return {};
    return {std::stod(match[1]), std::stod(match[2])};
}

/// Height of the curve at `x`, between its two nearest points.
double height_at(const std::vector<Pixel>& curve, double x) {
    const auto after =
        std::find_if(curve.begin(), curve.end(), [&](const Pixel& each) { return each.x >= x; });
    if (after == curve.begin() || after == curve.end()) return std::nan("");
    const auto before = after - 1;
    return before->y + (after->y - before->y) * (x - before->x) / (after->x - before->x);
}

TEST(PlanPlot, CurvePassesThroughThePlanAndHasItsMinimumAtTheOptimum) {
    for (const char* law : {"besiroglu_2024", "hoffmann_2022", "kaplan_2020"}) {
        const BackwardPlan plan = test::plan_of("auto", {fmt::format("base={}", law)});
        const std::string svg = plan_plot_svg(plan);
        const std::vector<Pixel> curve = curve_of(svg);
        ASSERT_GT(curve.size(), 50U) << law;
        const Pixel planned = mark_of(svg, "plan"), optimum = mark_of(svg, "optimum");
        // Coordinates have one decimal, and the curve is straight between its points.
        EXPECT_NEAR(height_at(curve, planned.x), planned.y, 0.3) << law;
        EXPECT_NEAR(height_at(curve, optimum.x), optimum.y, 0.3) << law;
        const auto lowest = std::max_element(
            curve.begin(), curve.end(), [](const Pixel& a, const Pixel& b) { return a.y < b.y; });
        EXPECT_LE(lowest->y, optimum.y + 0.1) << law << ": y grows downwards";
    }
}

TEST(PlanPlot, LabelsShowThePlanTheOptimumAndTheirBudget) {
    const BackwardPlan plan = test::plan_of("auto");
    const std::string svg = plan_plot_svg(plan);
    EXPECT_THAT(svg, HasSubstr(fmt::format("plan: loss {:.4f}", plan.loss.total)));
    EXPECT_THAT(svg, HasSubstr(fmt::format(
                         "N {}, D {}", human_count(static_cast<double>(plan.run.parameters.total)),
                         human_count(plan.tokens.n_tokens))));
    const scaling_law::Optimum& best = plan.optimum.exact->continuous;
    EXPECT_THAT(svg, HasSubstr(fmt::format("optimum: loss {:.4f}", best.loss.total)));
    EXPECT_THAT(svg, HasSubstr("N " + human_count(best.n_params)));
    EXPECT_THAT(svg, HasSubstr("C = " + human_flops(plan.budget.compute_flops) + " FLOP"));
    EXPECT_THAT(
        svg, HasSubstr("8 x H100-SXM, 720 h (30.0 days), MFU 45.0 % (exact), law besiroglu_2024"));
    EXPECT_THAT(svg, HasSubstr("model size N, parameters"));
}

TEST(PlanPlot, PlanThatTheDataLimitLiesAboveTheCurve) {
    const BackwardPlan plan = test::plan_of("auto", {"dataset_size=50e9", "max_epochs=1"});
    const std::string svg = plan_plot_svg(plan);
    const Pixel planned = mark_of(svg, "plan");
    EXPECT_LT(planned.y, height_at(curve_of(svg), planned.x) - 10);
    EXPECT_THAT(svg, HasSubstr("plan, limited by the data"));
}

TEST(PlanPlot, OptimumWithinTheDataLiesOnTheCurveWhereTheDataEnd) {
    const BackwardPlan plan = test::plan_of("auto", {"dataset_size=50e9", "max_epochs=1"});
    const std::string svg = plan_plot_svg(plan);
    const Pixel optimum = mark_of(svg, "optimum");
    EXPECT_NEAR(height_at(curve_of(svg), optimum.x), optimum.y, 0.3);
    EXPECT_THAT(svg, HasSubstr(fmt::format("optimum within the data: loss {:.4f}",
                                           plan.optimum.best.loss.total)));
    EXPECT_THAT(svg, HasSubstr("D 50.00B, D/N"));
}

TEST(PlanPlot, MarksOfRepeatedDataLieOnTheCurve) {
    const BackwardPlan plan = test::plan_of("auto", {"dataset_size=20e9", "max_epochs=60"});
    ASSERT_GT(plan.tokens.epochs, 4);
    ASSERT_FALSE(plan.tokens.constrained);
    const std::string svg = plan_plot_svg(plan);
    const std::vector<Pixel> curve = curve_of(svg);
    for (const char* name : {"plan", "optimum"}) {
        const Pixel mark = mark_of(svg, name);
        EXPECT_NEAR(height_at(curve, mark.x), mark.y, 0.3) << name;
    }
}

TEST(PlanPlot, LawThatCountsNonEmbeddingParametersNamesThemOnTheAxis) {
    const BackwardPlan plan = test::plan_of("auto", {"base=kaplan_2020"});
    EXPECT_THAT(plan_plot_svg(plan), HasSubstr("model size N, non-embedding parameters"));
}

TEST(PlanPlot, PictureHasFiniteCoordinatesInsideItsFrameForEveryShippedPlan) {
    for (const auto& path : test::shipped_plans()) {
        const std::string svg = plan_plot_svg(test::plan_of(path.stem().string()));
        EXPECT_THAT(svg, Not(HasSubstr("nan"))) << path;
        EXPECT_THAT(svg, Not(HasSubstr("inf"))) << path;
        for (const Pixel& point : curve_of(svg)) {
            EXPECT_TRUE(point.x >= 0 && point.x <= 800 && point.y >= 0 && point.y <= 500) << path;
        }
    }
}

}  // namespace
}  // namespace isoflop::report
