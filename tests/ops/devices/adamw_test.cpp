// AdamW against the CPU's in double, and what rounding does to 16-bit weights.
#include <cmath>

#include "isoflop/ops/adamw.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using ops::AdamWOptions;
using ops::AdamWSegment;
using ops::AdamWState;

/// A state on the device; where weights are fp32 there are no master weights.
struct DeviceState {
    DeviceState(device::Device& device, DType dtype, std::int64_t size,
                const std::vector<double>& initial, std::int64_t shift = 0)
        : weights(device, dtype, {size}, initial, shift),
          gradients(device, dtype, {size}, random_values(size, 2), shift),
          first_moment(device, DType::float32, {size}, random_values(size, 3), shift),
          second_moment(device, DType::float32, {size}, squares(random_values(size, 4)), shift),
          master(device, DType::float32, {size}, initial, shift) {}

    static std::vector<double> squares(std::vector<double> values) {
        for (double& value : values) value *= value;
        return values;
    }
    [[nodiscard]] AdamWState view() const {
        const bool needs_master = weights.view().dtype() != DType::float32;
        return {.weights = weights.view(),
                .gradients = gradients.view(),
                .first_moment = first_moment.view(),
                .second_moment = second_moment.view(),
                .master_weights = needs_master ? master.view() : TensorView{}};
    }
    /// What the update was made on.
    [[nodiscard]] std::vector<double> updated() const {
        return (weights.view().dtype() == DType::float32 ? weights : master).values();
    }

    DeviceTensor weights, gradients, first_moment, second_moment, master;
};

struct HostState {
    explicit HostState(const DeviceState& state)
        : weights({state.weights.view().size()}, state.updated()),
          gradients({weights.view().size()}, state.gradients.values()),
          first_moment({weights.view().size()}, state.first_moment.values()),
          second_moment({weights.view().size()}, state.second_moment.values()) {}
    [[nodiscard]] AdamWState view() {
        return {.weights = weights.view(),
                .gradients = gradients.view(),
                .first_moment = first_moment.view(),
                .second_moment = second_moment.view(),
                .master_weights = {}};
    }
    HostTensor weights, gradients, first_moment, second_moment;
};

constexpr AdamWOptions kOptions{.learning_rate = 0.01, .step = 3, .gradient_scale = 0.5};

class AdamWCuda : public CudaOp {};

TEST_F(AdamWCuda, UpdatesTheSegmentsAndNothingElse) {
    const std::vector<AdamWSegment> segments{{.offset = 0, .count = 1, .weight_decay = true},
                                             {.offset = 3, .count = 31},
                                             {.offset = 40, .count = 0},
                                             {.offset = 40, .count = 4200, .weight_decay = true},
                                             {.offset = 4241, .count = 2}};
    const std::int64_t size = 4250;
    for (const DType dtype : kStorageTypes) {
        for (const std::int64_t shift : {0, 1}) {
            SCOPED_TRACE(std::string(short_name(dtype)) + ", shifted by " + std::to_string(shift));
            const DeviceState state(*device_, dtype, size, random_values(size, 1), shift);
            const std::vector<double> weights_before = state.weights.values();
            HostState host(state);
            ops::adamw(context_, kOptions, segments, state.view());
            ops::adamw(host_, kOptions, segments, host.view());
            // A few roundings of fp32; weights are near 1, updates near 0.01.
            EXPECT_LE(relative_error(state.updated(), host.weights.doubles()), 1e-7);
            EXPECT_LE(relative_error(state.first_moment.values(), host.first_moment.doubles()),
                      2e-7);
            EXPECT_LE(relative_error(state.second_moment.values(), host.second_moment.doubles()),
                      2e-7);
            const std::vector<double> weights = state.weights.values();
            const std::vector<double> updated = state.updated();
            for (const std::size_t i : {1U, 2U, 34U, 39U, 4240U, 4243U}) {
                EXPECT_EQ(weights[i], weights_before[i]) << i;
            }
            const DeviceTensor rounded(*device_, dtype, {size}, updated);
            EXPECT_EQ(weights[2000], rounded.values()[2000]);
            EXPECT_EQ(weights[4242], rounded.values()[4242]);
        }
    }
}

TEST_F(AdamWCuda, ManySegmentsTakeSeveralTables) {
    std::vector<AdamWSegment> segments;
    for (std::int64_t i = 0; i < 300; ++i) {
        segments.push_back({.offset = 7 * i, .count = 7, .weight_decay = i % 3 == 0});
    }
    const DeviceState state(*device_, DType::bfloat16, 2100, random_values(2100, 1));
    HostState host(state);
    ops::adamw(context_, kOptions, segments, state.view());
    ops::adamw(host_, kOptions, segments, host.view());
    EXPECT_LE(relative_error(state.updated(), host.weights.doubles()), 1e-7);
}

TEST_F(AdamWCuda, UpdatesManyElements) {
    constexpr std::int64_t kMany = 1'000'003;
    const std::vector<AdamWSegment> segments{{.offset = 1, .count = 700'001, .weight_decay = true},
                                             {.offset = 700'002, .count = 300'001}};
    const DeviceState state(*device_, DType::bfloat16, kMany, random_values(kMany, 1));
    HostState host(state);
    ops::adamw(context_, kOptions, segments, state.view());
    ops::adamw(host_, kOptions, segments, host.view());
    EXPECT_LE(relative_error(state.updated(), host.weights.doubles()), 1e-7);
    const DeviceTensor rounded(*device_, DType::bfloat16, {kMany}, state.updated());
    EXPECT_TRUE(bytes_of(state.weights) == bytes_of(rounded));
}

TEST_F(AdamWCuda, HasTheSameBitsInAllOrders) {
    for (const DType dtype : kStorageTypes) {
        expect_same_bits_in_all_orders([&] {
            const DeviceState state(*device_, dtype, 1003, random_values(1003, 1));
            AdamWOptions options = kOptions;
            options.stochastic_rounding = true;
            const std::vector<AdamWSegment> segments{{.offset = 1, .count = 1002}};
            ops::adamw(context_, options, segments, state.view());
            return bytes_of(state.weights, state.first_moment, state.second_moment, state.master);
        });
    }
}

/// Weights of one value that no 16-bit number is near to, without an update: only rounding.
class StochasticRounding : public AdamWCuda {
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
