// Activations on a GPU against the CPU's in double, from the same rounded inputs.
#include "isoflop/ops/activation.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using model::Activation;

constexpr std::array kActivations{Activation::silu,       Activation::gelu,
                                  Activation::gelu_tanh,  Activation::relu,
                                  Activation::leaky_relu, Activation::relu_squared};
constexpr std::array<std::int64_t, 6> kWidths{1, 7, 31, 33, 64, 1000};
constexpr std::int64_t kManyElements = 1'000'003;

/// Values of some spread, to reach the tails.
std::vector<double> spread_values(std::int64_t count, std::uint64_t seed) {
    std::vector<double> values = random_values(count, seed);
    for (double& value : values) value *= 3;
    return values;
}

class ActivationOnDevice : public DeviceOp {
protected:
    /// fp16 loses precision below 6e-5.
    static void expect_close(const DeviceTensor& actual, HostTensor& reference) {
        test::expect_close(actual, reference.values(), 1, 0.1);
    }

    void check_plain(DType dtype, Activation kind, std::int64_t size, std::int64_t shift) {
        const DeviceTensor x(*device_, dtype, {size}, spread_values(size, 1), shift);
        const DeviceTensor d_out(*device_, dtype, {size}, random_values(size, 2));
        const DeviceTensor out(*device_, dtype, {size});
        HostTensor host_x({size}, x.values());
        HostTensor host_d_out({size}, d_out.values());
        HostTensor host_out({size});
        ops::activation_forward(context_, kind, x.view(), out.view());
        ops::activation_forward(host_, kind, host_x.view(), host_out.view());
        expect_close(out, host_out);
        ops::activation_backward(context_, kind, x.view(), d_out.view(), out.view());
        ops::activation_backward(host_, kind, host_x.view(), host_d_out.view(), host_out.view());
        expect_close(out, host_out);
        ops::activation_backward(context_, kind, x.view(), d_out.view(), d_out.view());
        expect_close(d_out, host_out);
    }

    void check_gated(DType dtype, Activation kind, std::int64_t rows, std::int64_t width,
                     std::int64_t shift) {
        const std::int64_t size = rows * width;
        const DeviceTensor gate_up(*device_, dtype, {rows, 2 * width}, spread_values(2 * size, 3),
                                   shift);
        const DeviceTensor d_out(*device_, dtype, {rows, width}, random_values(size, 4));
        const DeviceTensor out(*device_, dtype, {rows, width});
        const DeviceTensor d_gate_up(*device_, dtype, {rows, 2 * width});
        HostTensor host_gate_up({rows, 2 * width}, gate_up.values());
        HostTensor host_d_out({rows, width}, d_out.values());
        HostTensor host_out({rows, width});
        HostTensor host_d_gate_up({rows, 2 * width});
        ops::gated_forward(context_, kind, gate_up.view(), out.view());
        ops::gated_forward(host_, kind, host_gate_up.view(), host_out.view());
        expect_close(out, host_out);
        ops::gated_backward(context_, kind, gate_up.view(), d_out.view(), d_gate_up.view());
        ops::gated_backward(host_, kind, host_gate_up.view(), host_d_out.view(),
                            host_d_gate_up.view());
        expect_close(d_gate_up, host_d_gate_up);
        // In place: every element is read before it is written.
        ops::gated_backward(context_, kind, gate_up.view(), d_out.view(), gate_up.view());
        EXPECT_EQ(bytes_of(gate_up), bytes_of(d_gate_up));
    }
};

TEST_F(ActivationOnDevice, PlainIsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const Activation kind : kActivations) {
            SCOPED_TRACE(std::string(short_name(dtype)) + " " + std::string(to_string(kind)));
            for (const std::int64_t size : kWidths) check_plain(dtype, kind, size, 0);
            check_plain(dtype, kind, 100, 1);
        }
    }
}

TEST_F(ActivationOnDevice, GatedIsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const Activation kind : kActivations) {
            SCOPED_TRACE(std::string(short_name(dtype)) + " " + std::string(to_string(kind)));
            for (const std::int64_t width : kWidths) check_gated(dtype, kind, 3, width, 0);
            check_gated(dtype, kind, 2, 64, 1);
            check_gated(dtype, kind, 0, 64, 0);
        }
    }
}

TEST_F(ActivationOnDevice, WideRowsTakeSeveralBlocks) {
    check_gated(narrow(DType::bfloat16), Activation::silu, 1, 8 * 256 + 8, 0);
    check_gated(narrow(DType::float16), Activation::silu, 1, 257, 0);
    check_gated(DType::float32, Activation::relu, 65'537, 1, 0);
}

TEST_F(ActivationOnDevice, ExtremesAreThoseOfTheReference) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const std::vector<double> extremes{0, -0.0, -100, 100, -1e30, 1e30, kInfinity, 1e-30};
    const auto size = std::ssize(extremes);
    for (const Activation kind : kActivations) {
        if (kind == Activation::relu_squared) continue;  // the square of 1e30 is no float
        SCOPED_TRACE(to_string(kind));
        const DeviceTensor x(*device_, DType::float32, {size}, extremes);
        const DeviceTensor out(*device_, DType::float32, {size});
        HostTensor host_x({size}, extremes);
        HostTensor host_out({size});
        ops::activation_forward(context_, kind, x.view(), out.view());
        ops::activation_forward(host_, kind, host_x.view(), host_out.view());
        const std::vector<double> actual = out.values();
        for (std::size_t i = 0; i < extremes.size(); ++i) {
            const double expected = host_out.values()[i];
            if (std::isfinite(expected)) {
                EXPECT_NEAR(actual[i], expected, 1e-6 * std::abs(expected) + 1e-37) << extremes[i];
            } else {
                EXPECT_EQ(actual[i], expected) << extremes[i];
            }
        }
    }
}

TEST_F(ActivationOnDevice, ManyElementsHaveTheSameBitsInAllOrders) {
    const std::vector<double> values = spread_values(kManyElements, 5);
    for (const DType dtype : storage_types()) {
        const DeviceTensor x(*device_, dtype, {kManyElements}, values);
        const DeviceTensor pairs(*device_, dtype, {1, kManyElements - 3},
                                 {values.begin(), values.end() - 3});
        expect_same_bits_in_all_orders([&] {
            const DeviceTensor out(*device_, dtype, {kManyElements});
            const DeviceTensor gated(*device_, dtype, {1, pairs.view().size() / 2});
            ops::activation_forward(context_, Activation::gelu_tanh, x.view(), out.view());
            ops::activation_backward(context_, Activation::silu, x.view(), out.view(), out.view());
            ops::gated_forward(context_, Activation::silu, pairs.view(), gated.view());
            return bytes_of(out, gated);
        });
    }
}

}  // namespace
}  // namespace isoflop::test
