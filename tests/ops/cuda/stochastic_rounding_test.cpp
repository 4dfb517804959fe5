// What stochastic rounding does to 16-bit weights, which only GPUs have.
#include <cmath>

#include "ops/devices/adamw_problem.hpp"

namespace isoflop::test {
namespace {

/// Weights of one value that no 16-bit number is near to, without an update: only rounding.
class StochasticRounding : public DeviceOp {
protected:
    std::vector<double> rounded(DType dtype, double value, const AdamWOptions& options,
                                std::int64_t size = kSize, std::int64_t shift = 0) {
        const DeviceState state(*device_, dtype, size,
                                std::vector<double>(static_cast<std::size_t>(size), value), shift);
        const std::vector<AdamWSegment> segments{{.offset = 0, .count = size}};
        ops::adamw(context_, options, segments, state.view());
        return state.weights.values();
    }
    static constexpr std::int64_t kSize = 40'000;
    static constexpr AdamWOptions kOnlyRounding{
        .learning_rate = 0, .stochastic_rounding = true, .rounding_seed = 5};
};

TEST_F(StochasticRounding, MeanIsTheMasterWeight) {
    // Of fp16 also subnormal numbers, which are multiples of 2^-24.
    const std::vector<std::pair<DType, double>> cases{{DType::bfloat16, 1.00123},
                                                      {DType::bfloat16, -3.3e-20},
                                                      {DType::float16, -1.00023},
                                                      {DType::float16, 3.1415e-6}};
    for (const auto& [dtype, asked] : cases) {
        SCOPED_TRACE(std::string(short_name(dtype)) + " " + std::to_string(asked));
        const double value = static_cast<float>(asked);
        const std::vector<double> weights = rounded(dtype, value, kOnlyRounding);
        const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
        EXPECT_LT(*low, value);
        EXPECT_GT(*high, value);
        double sum = 0;
        for (const double weight : weights) {
            EXPECT_TRUE(weight == *low || weight == *high);  // the two neighbours
            sum += weight;
        }
        const double spacing = *high - *low;
        const double probability = (value - *low) / spacing;
        const double deviation =
            spacing * std::sqrt(probability * (1 - probability) / static_cast<double>(kSize));
        EXPECT_NEAR(sum / static_cast<double>(kSize), value, 4 * deviation);
    }
}

TEST_F(StochasticRounding, ExactAndSpecialNumbersStay) {
    for (const DType dtype : {DType::bfloat16, DType::float16}) {
        for (const double value : {0.0, -1.5, 0x1p-24}) {
            EXPECT_EQ(rounded(dtype, value, kOnlyRounding, 9), std::vector<double>(9, value));
        }
        EXPECT_TRUE(std::isnan(rounded(dtype, std::nan(""), kOnlyRounding, 1)[0]));
    }
}

TEST_F(StochasticRounding, IsAFunctionOfSeedStepAndPlaceInTheState) {
    const double value = static_cast<float>(1.003);
    const std::vector<double> whole = rounded(DType::bfloat16, value, kOnlyRounding, 103);
    AdamWOptions options = kOnlyRounding;
    for (const std::uint64_t first : {1U, 2U, 3U, 50U}) {
        for (const std::int64_t shift : {0, 1}) {  // in groups and one by one
            options.first_element = first;
            const std::vector<double> part = rounded(DType::bfloat16, value, options,
                                                     103 - static_cast<std::int64_t>(first), shift);
            EXPECT_EQ(part, std::vector<double>(whole.begin() + static_cast<std::ptrdiff_t>(first),
                                                whole.end()));
        }
    }
    options = kOnlyRounding;
    options.step = 2;
    EXPECT_NE(rounded(DType::bfloat16, value, options, 103), whole);
    options = kOnlyRounding;
    options.rounding_seed = 6;
    EXPECT_NE(rounded(DType::bfloat16, value, options, 103), whole);
}

}  // namespace
}  // namespace isoflop::test
