#include "isoflop/data/mixing.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

namespace isoflop::data {
namespace {

/// Walks through samples, checks that local indices count up, that counts() agrees, and returns the
/// largest |count_i - n w_i| met.
double largest_deviation(const std::vector<double>& weights, std::uint64_t num_samples) {
    const MixingSchedule schedule(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<std::uint64_t> counts(weights.size());
    double largest = 0;
    for (std::uint64_t sample = 0; sample < num_samples; ++sample) {
        const MixingSchedule::Pick pick = schedule.pick(sample);
        if (pick.index != counts.at(pick.source))
            ADD_FAILURE() << "index skips at sample " << sample;
        ++counts[pick.source];
        for (std::size_t source = 0; source < weights.size(); ++source) {
            const double expected = static_cast<double>(sample + 1) * weights[source] / sum;
            largest = std::max(largest, std::abs(static_cast<double>(counts[source]) - expected));
        }
    }
    EXPECT_EQ(schedule.counts(num_samples), counts);
    return largest;
}

TEST(MixingSchedule, OneSourceTakesAll) {
    const MixingSchedule schedule(std::vector<double>{3.0});
    EXPECT_EQ(schedule.pick(12345).source, 0U);
    EXPECT_EQ(schedule.pick(12345).index, 12345U);
    EXPECT_EQ(schedule.counts(7), std::vector<std::uint64_t>{7});
}

TEST(MixingSchedule, TwoSourcesStayWithinHalfASample) {
    EXPECT_LE(largest_deviation({0.7, 0.3}, 10000), 0.5 + 1e-9);
    EXPECT_LE(largest_deviation({1, 1e-3}, 10000), 0.5 + 1e-9);
    EXPECT_LE(largest_deviation({1.0 / 3, std::sqrt(2)}, 10000), 0.5 + 1e-9);
}

TEST(MixingSchedule, ThreeSourcesGetTheirRoundedShare) {
    const MixingSchedule schedule(std::vector<double>{0.5, 0.3, 0.2});
    EXPECT_EQ(schedule.counts(1000), (std::vector<std::uint64_t>{500, 300, 200}));
    EXPECT_EQ(schedule.counts(10'000'000'000),
              (std::vector<std::uint64_t>{5'000'000'000, 3'000'000'000, 2'000'000'000}));
}

// |count - n w| < 1.5 means that count is round(n w) or next to it; proven is 1.68 (see the
// header).
TEST(MixingSchedule, AnySourcesGetTheirRoundedShareToWithinOneSample) {
    std::mt19937 generator(11);
    std::uniform_real_distribution<double> exponent(-6, 0);
    double largest = 0;
    for (int round = 0; round < 60; ++round) {
        std::vector<double> weights(2 + generator() % 20);
        for (double& weight : weights) weight = std::exp(exponent(generator));
        largest = std::max(largest, largest_deviation(weights, 5000));
    }
    const std::vector<double> fibonacci{1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144};
    largest = std::max(largest, largest_deviation(fibonacci, 20000));
    largest = std::max(largest, largest_deviation(std::vector<double>(31, 1.0), 20000));
    EXPECT_LT(largest, 1.5);
}

TEST(MixingSchedule, ScaleOfTheWeightsDoesNotMatter) {
    const MixingSchedule small(std::vector<double>{0.5, 0.25, 0.25});
    const MixingSchedule large(std::vector<double>{200, 100, 100});
    for (std::uint64_t sample = 0; sample < 1000; ++sample) {
        EXPECT_EQ(small.pick(sample).source, large.pick(sample).source);
    }
}

TEST(MixingSchedule, CountsFarOutMatchThePicks) {
    const std::vector<double> weights{0.61, 0.2, 0.11, 0.05, 0.03};
    const MixingSchedule schedule(weights);
    const std::uint64_t far = 123'456'789'012;
    const auto before = schedule.counts(far);
    const auto pick = schedule.pick(far);
    EXPECT_EQ(pick.index, before[pick.source]);
    auto after = before;
    ++after[pick.source];
    EXPECT_EQ(schedule.counts(far + 1), after);
}

}  // namespace
}  // namespace isoflop::data
