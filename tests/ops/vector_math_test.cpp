#include "ops/vector_math.hpp"

#include "ops/support.hpp"
#include "ops/vectorize.hpp"

namespace isoflop::ops::testing {
namespace {

/// Distance in units of the last place of the float nearest to `exact`.
double ulps(float actual, double exact) {
    const auto nearest = static_cast<float>(exact);
    const float next = std::nextafter(nearest, std::numeric_limits<float>::infinity());
    return std::fabs(static_cast<double>(actual) - exact) /
           (static_cast<double>(next) - static_cast<double>(nearest));
}

std::vector<float> grid(double from, double to, std::size_t count) {
    std::vector<float> points;
    for (std::size_t i = 0; i < count; ++i) {
        const double share = static_cast<double>(i) / static_cast<double>(count - 1);
        points.push_back(static_cast<float>(from + (to - from) * share));
    }
    return points;
}

std::vector<float> evaluate(const std::vector<float>& points, const auto& function) {
    std::vector<float> results(points.size());
    run_vectorized([&] {
        for_each_independent(std::ssize(points), [&](std::int64_t i) {
            const auto index = static_cast<std::size_t>(i);
            results[index] = function(points[index]);
        });
    });
    return results;
}

std::vector<float> exponentials(const std::vector<float>& points) {
    return evaluate(points, [](float x) { return exponential(x); });
}

TEST(VectorMath, ExponentialIsWithinTwoUlps) {
    for_each_instruction_set([] {
        const std::vector<float> points = grid(-87.3, 88.7, 300'001);
        const std::vector<float> results = exponentials(points);
        double worst = 0;
        for (std::size_t i = 0; i < points.size(); ++i) {
            worst = std::max(worst, ulps(results[i], std::exp(static_cast<double>(points[i]))));
        }
        EXPECT_LE(worst, 2.0);
    });
}

TEST(VectorMath, ExponentialUnderflowsGraduallyAndTakesSpecialValues) {
    for_each_instruction_set([] {
        const float infinity = std::numeric_limits<float>::infinity();
        const float nan = std::numeric_limits<float>::quiet_NaN();
        const std::vector<float> results =
            exponentials({0.0F, -0.0F, 88.9F, 1e30F, infinity, -104.5F, -1e30F, -infinity, nan});
        EXPECT_EQ(results[0], 1.0F);
        EXPECT_EQ(results[1], 1.0F);
        for (const std::size_t i : {2U, 3U, 4U}) EXPECT_EQ(results[i], infinity);
        for (const std::size_t i : {5U, 6U, 7U}) EXPECT_EQ(results[i], 0.0F);
        EXPECT_TRUE(std::isnan(results[8]));
        const std::vector<float> points = grid(-103.9, -87.4, 1001);
        const std::vector<float> small = exponentials(points);
        for (std::size_t i = 0; i < points.size(); ++i) {
            // Two roundings to a subnormal of 2^-149.
            EXPECT_NEAR(small[i], std::exp(static_cast<double>(points[i])), 3 * 0x1p-149);
        }
    });
}

TEST(VectorMath, NormalDistributionIsAccurateInBothTails) {
    for_each_instruction_set([] {
        const std::vector<float> points = grid(-9, 9, 100'001);
        const auto cumulative =
            evaluate(points, [](float x) { return normal_distribution(x).cumulative; });
        const auto density =
            evaluate(points, [](float x) { return normal_distribution(x).density; });
        for (std::size_t i = 0; i < points.size(); ++i) {
            const double x = static_cast<double>(points[i]);
            const double exact = 0.5 * std::erfc(-x / std::sqrt(2.0));
            const double exact_density = std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI);
            // A dozen roundings, and exp(-x^2 / 2) inherits that of its argument.
            const double tolerance = 6e-7 + 0.5 * x * x * 6e-8;
            ASSERT_LE(std::fabs(cumulative[i] - exact), tolerance * exact) << x;
            ASSERT_LE(std::fabs(density[i] - exact_density), tolerance * exact_density) << x;
        }
    });
}

TEST(VectorMath, LogarithmIsAccurateOverAllNormalNumbers) {
    for_each_instruction_set([] {
        for (const auto& [from, to] : {std::pair{1.2e-38, 1e-30}, std::pair{1e-10, 2.0},
                                       std::pair{0.99, 1.01}, std::pair{2.0, 3e38}}) {
            const std::vector<float> points = grid(from, to, 100'001);
            const auto results = evaluate(points, [](float x) { return logarithm(x); });
            for (std::size_t i = 0; i < points.size(); ++i) {
                const double exact = std::log(static_cast<double>(points[i]));
                ASSERT_LE(std::fabs(results[i] - exact), 2.5e-7 * std::fabs(exact)) << points[i];
            }
        }
    });
}

TEST(VectorMath, SineAndCosineOfATurnAreAccurateInEveryEighth) {
    std::vector<std::uint32_t> turns;
    for (std::uint32_t part = 0; part < 8; ++part) {
        const std::uint32_t corner = part << 29U;
        for (const std::uint32_t nudge : {0U, 1U, 2U}) turns.push_back(corner + nudge);
        turns.push_back(corner - 1);
        for (std::uint32_t i = 0; i < 10'000; ++i) turns.push_back(corner + i * 53'687U);
    }
    for_each_instruction_set([&] {
        std::vector<SineCosine<float>> results(turns.size());
        run_vectorized([&] {
            for_each_independent(std::ssize(turns), [&](std::int64_t i) {
                const auto index = static_cast<std::size_t>(i);
                results[index] = sine_cosine_of_turn<float>(turns[index]);
            });
        });
        for (std::size_t i = 0; i < turns.size(); ++i) {
            const double angle = 2 * M_PI * 0x1p-32 * static_cast<double>(turns[i]);
            ASSERT_NEAR(results[i].sine, std::sin(angle), 1.5e-7) << turns[i];
            ASSERT_NEAR(results[i].cosine, std::cos(angle), 1.5e-7) << turns[i];
        }
    });
}

TEST(VectorMath, PositiveUnitIsNeverZeroAndCoversTheInterval) {
    EXPECT_GT(positive_unit<float>(0), 0.0F);
    EXPECT_LT(positive_unit<float>(0), 1e-9F);
    EXPECT_EQ(positive_unit<float>(0xFFFFFFFFU), 1.0F);
    EXPECT_NEAR(positive_unit<float>(0x80000000U), 0.5F, 1e-7F);
    EXPECT_GT(positive_unit<double>(0), 0.0);
    EXPECT_LE(positive_unit<double>(0xFFFFFFFFU), 1.0);
    EXPECT_NEAR(positive_unit<double>(0x40000000U), 0.25, 1e-9);
}

TEST(VectorMath, SigmoidIsAccurateInBothTails) {
    const std::vector<float> points = grid(-80, 80, 10'001);
    const auto results = evaluate(points, [](float x) { return sigmoid(x); });
    for (std::size_t i = 0; i < points.size(); ++i) {
        ASSERT_LE(ulps(results[i], 1 / (1 + std::exp(-static_cast<double>(points[i])))), 4.0);
    }
}

TEST(Vectorize, LaneFoldsSeeEveryTermOnce) {
    for (const std::int64_t count : {0, 1, 7, 31, 32, 33, 63, 64, 65, 1000}) {
        const auto identity = [](std::int64_t i) { return static_cast<double>(i + 1); };
        EXPECT_EQ(lane_sum<double>(count, identity), static_cast<double>(count * (count + 1) / 2));
        if (count == 0) continue;
        EXPECT_EQ(lane_max<double>(count, identity), static_cast<double>(count));
        EXPECT_EQ(lane_min<double>(count, identity), 1.0);
    }
}

}  // namespace
}  // namespace isoflop::ops::testing
