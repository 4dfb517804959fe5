// Cross-entropy against the CPU's in double, for rows that begin anywhere in memory.
#include <cmath>

#include "isoflop/ops/cross_entropy.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

constexpr std::int32_t kIgnored = ops::kIgnoreIndex;

class CrossEntropyOnDevice : public DeviceOp {
protected:
    /// Targets of `rows` rows, with every third one ignored.
    static std::vector<std::int32_t> targets_of(std::int64_t rows, std::int64_t width) {
        std::vector<std::int32_t> targets =
            ops::testing::random_tokens(rows, static_cast<std::int32_t>(width), 7);
        for (std::size_t i = 2; i < targets.size(); i += 3) targets[i] = kIgnored;
        return targets;
    }

    void expect_losses_and_gradients_of_the_reference(DType dtype, std::int64_t rows,
                                                      std::int64_t width, std::int64_t shift,
                                                      double amplitude) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(rows) + " rows of " +
                     std::to_string(width) + ", shifted by " + std::to_string(shift));
        std::vector<double> values = random_values(rows * width, 1);
        for (double& value : values) value *= amplitude;
        const std::vector<std::int32_t> targets = targets_of(rows, width);
        const DeviceTokens on_device(*device_, targets);
        const DeviceTensor logits(*device_, dtype, {rows, width}, values, shift);
        const DeviceTensor losses(*device_, DType::float32, {rows});
        HostTensor host_logits({rows, width}, logits.values());
        HostTensor host_losses({rows});
        const std::vector<double> before = logits.values();
        ops::cross_entropy_forward(context_, logits.view(), on_device.view(), kIgnored,
                                   losses.view());
        ops::cross_entropy_forward_backward(host_, host_logits.view(), targets, kIgnored, 0.25,
                                            host_losses.view());
        // Sums of fp32 exponentials, of logits up to 100.
        EXPECT_LE(relative_error(losses.values(), host_losses.doubles()), 1e-6);
        EXPECT_EQ(logits.values(), before);
        const std::vector<double> forward_losses = losses.values();
        ops::cross_entropy_forward_backward(context_, logits.view(), on_device.view(), kIgnored,
                                            0.25, losses.view());
        EXPECT_EQ(losses.values(), forward_losses);
        EXPECT_LE(relative_error(logits.values(), host_logits.doubles()),
                  1e-5 + rounding_tolerance(dtype));
    }
};

TEST_F(CrossEntropyOnDevice, LossesAndGradientsAreThoseOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t width : {1, 7, 31, 33, 100, 257, 1000}) {
            for (const std::int64_t shift : {0, 1, 3}) {
                expect_losses_and_gradients_of_the_reference(dtype, 5, width, shift, 3);
            }
        }
        expect_losses_and_gradients_of_the_reference(dtype, 0, 33, 0, 1);
        expect_losses_and_gradients_of_the_reference(dtype, 3, 20'001, 0, 20);
    }
}

TEST_F(CrossEntropyOnDevice, TheLargestVocabularyFits) {
    expect_losses_and_gradients_of_the_reference(narrow(DType::bfloat16), 1, 262'143, 0, 3);
}

TEST_F(CrossEntropyOnDevice, IgnoredRowsAreZero) {
    const std::int64_t width = 37;
    const std::vector<std::int32_t> targets{kIgnored, 3};
    const DeviceTokens on_device(*device_, targets);
    std::vector<double> values = random_values(2 * width, 2);
    values[5] = std::nan("");
    const DeviceTensor logits(*device_, narrow(DType::bfloat16), {2, width}, values);
    const DeviceTensor losses(*device_, DType::float32, {2});
    ops::cross_entropy_forward_backward(context_, logits.view(), on_device.view(), kIgnored, 1,
                                        losses.view());
    EXPECT_EQ(losses.values()[0], 0);
    EXPECT_GT(losses.values()[1], 0);
    const std::vector<double> gradient = logits.values();
    EXPECT_EQ(std::vector<double>(gradient.begin(), gradient.begin() + width),
              std::vector<double>(static_cast<std::size_t>(width), 0.0));
}

TEST_F(CrossEntropyOnDevice, MaskedLogitsHaveNoWeightAndNanShows) {
    const double masked = -std::numeric_limits<double>::infinity();
    // Two threads see masked logits alone.
    std::vector<double> values(300, masked);
    values[0] = 1;
    values[299] = 1;
    const std::vector<std::int32_t> targets{299};
    const DeviceTokens on_device(*device_, targets);
    const DeviceTensor losses(*device_, DType::float32, {1});
    {
        const DeviceTensor logits(*device_, DType::float32, {1, 300}, values);
        ops::cross_entropy_forward_backward(context_, logits.view(), on_device.view(), kIgnored, 1,
                                            losses.view());
        EXPECT_FLOAT_EQ(static_cast<float>(losses.values()[0]), std::log(2.0F));
        EXPECT_FLOAT_EQ(static_cast<float>(logits.values()[0]), 0.5F);
        EXPECT_FLOAT_EQ(static_cast<float>(logits.values()[299]), -0.5F);
        EXPECT_EQ(logits.values()[150], 0);
    }
    values[150] = std::nan("");
    const DeviceTensor logits(*device_, DType::float32, {1, 300}, values);
    ops::cross_entropy_forward(context_, logits.view(), on_device.view(), kIgnored, losses.view());
    EXPECT_TRUE(std::isnan(losses.values()[0]));
}

TEST_F(CrossEntropyOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        const std::int64_t width = 1501;
        const std::vector<double> values = random_values(3 * width, 3);
        const std::vector<std::int32_t> targets = targets_of(3, width);
        const DeviceTokens on_device(*device_, targets);
        expect_same_bits_in_all_orders([&] {
            const DeviceTensor logits(*device_, dtype, {3, width}, values);
            const DeviceTensor losses(*device_, DType::float32, {3});
            ops::cross_entropy_forward_backward(context_, logits.view(), on_device.view(), kIgnored,
                                                0.5, losses.view());
            return bytes_of(logits, losses);
        });
    }
}

}  // namespace
}  // namespace isoflop::test
