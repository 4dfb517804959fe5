// AdamW against the reference in double.
#include "ops/devices/adamw_problem.hpp"

namespace isoflop::test {
namespace {

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

class AdamWOnDevice : public DeviceOp {};

TEST_F(AdamWOnDevice, UpdatesTheSegmentsAndNothingElse) {
    const std::vector<AdamWSegment> segments{{.offset = 0, .count = 1, .weight_decay = true},
                                             {.offset = 3, .count = 31},
                                             {.offset = 40, .count = 0},
                                             {.offset = 40, .count = 4200, .weight_decay = true},
                                             {.offset = 4241, .count = 2}};
    const std::int64_t size = 4250;
    for (const DType dtype : storage_types()) {
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

TEST_F(AdamWOnDevice, ManySegmentsTakeSeveralTables) {
    std::vector<AdamWSegment> segments;
    for (std::int64_t i = 0; i < 300; ++i) {
        segments.push_back({.offset = 7 * i, .count = 7, .weight_decay = i % 3 == 0});
    }
    const DeviceState state(*device_, narrow(DType::bfloat16), 2100, random_values(2100, 1));
    HostState host(state);
    ops::adamw(context_, kOptions, segments, state.view());
    ops::adamw(host_, kOptions, segments, host.view());
    EXPECT_LE(relative_error(state.updated(), host.weights.doubles()), 1e-7);
}

TEST_F(AdamWOnDevice, UpdatesManyElements) {
    constexpr std::int64_t kMany = 1'000'003;
    const std::vector<AdamWSegment> segments{{.offset = 1, .count = 700'001, .weight_decay = true},
                                             {.offset = 700'002, .count = 300'001}};
    const DeviceState state(*device_, narrow(DType::bfloat16), kMany, random_values(kMany, 1));
    HostState host(state);
    ops::adamw(context_, kOptions, segments, state.view());
    ops::adamw(host_, kOptions, segments, host.view());
    EXPECT_LE(relative_error(state.updated(), host.weights.doubles()), 1e-7);
    const DeviceTensor rounded(*device_, narrow(DType::bfloat16), {kMany}, state.updated());
    EXPECT_TRUE(bytes_of(state.weights) == bytes_of(rounded));
}

TEST_F(AdamWOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        expect_same_bits_in_all_orders([&] {
            const DeviceState state(*device_, dtype, 1003, random_values(1003, 1));
            AdamWOptions options = kOptions;
            options.stochastic_rounding = dtype != DType::float32;
            const std::vector<AdamWSegment> segments{{.offset = 1, .count = 1002}};
            ops::adamw(context_, options, segments, state.view());
            return bytes_of(state.weights, state.first_moment, state.second_moment, state.master);
        });
    }
}

}  // namespace
}  // namespace isoflop::test
