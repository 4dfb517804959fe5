#include "isoflop/ops/activation.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

using model::Activation;

constexpr auto kKinds = {Activation::silu, Activation::gelu,       Activation::gelu_tanh,
                         Activation::relu, Activation::leaky_relu, Activation::relu_squared};
constexpr auto kSizes = {1, 7, 31, 33, 1000};

double reference(Activation kind, double x) {
    switch (kind) {
        case Activation::silu: return x / (1 + std::exp(-x));
        case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        case Activation::gelu_tanh:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case Activation::relu: return x > 0 ? x : 0;
        case Activation::leaky_relu: return x > 0 ? x : 0.01 * x;
        case Activation::relu_squared: return x > 0 ? x * x : 0;
    }
    return 0;
}

/// Random values with a few large ones; the kink at zero is kept at a distance.
std::vector<double> inputs(std::int64_t count, std::uint64_t seed) {
    std::vector<double> values = random_values(count, seed);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i % 5 == 4) values[i] *= 8;
        if (std::fabs(values[i]) < 1e-3) values[i] = 0.5;
    }
    return values;
}

std::vector<double> activated(const std::vector<double>& x, Activation kind) {
    std::vector<double> out;
    for (const double value : x) out.push_back(reference(kind, value));
    return out;
}

/// The gated reference on one row [gate, up].
std::vector<double> gated(const std::vector<double>& gate_up, Activation kind, std::size_t rows) {
    const std::size_t width = gate_up.size() / rows / 2;
    std::vector<double> out;
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = 0; i < width; ++i) {
            const double gate = gate_up[row * 2 * width + i];
            out.push_back(reference(kind, gate) * gate_up[row * 2 * width + width + i]);
        }
    }
    return out;
}

template <class T>
class ActivationTest : public ::testing::Test {};
TYPED_TEST_SUITE(ActivationTest, ElementTypes);

TYPED_TEST(ActivationTest, ForwardIsTheFormula) {
    using T = TypeParam;
    ThreadPool pool(2);
    Context context(pool);
    for (const Activation kind : kKinds) {
        for (const std::int64_t size : kSizes) {
            Tensor<T> x({size, 3}, inputs(size * 3, 1));
            Tensor<T> out({size, 3});
            activation_forward(context, kind, x.view(), out.view());
            EXPECT_LE(relative_error(out.doubles(), activated(x.doubles(), kind)), kTolerance<T>)
                << to_string(kind) << ' ' << size;
        }
    }
}

TYPED_TEST(ActivationTest, BackwardIsTheDerivativeAndMayOverwriteItsGradient) {
    using T = TypeParam;
    ThreadPool pool(2);
    Context context(pool);
    for (const Activation kind : kKinds) {
        const std::int64_t size = 331;
        Tensor<T> x({size}, inputs(size, 2));
        Tensor<T> d_out({size}, random_values(size, 3));
        const std::vector<double> cotangent = d_out.doubles();
        const std::vector<double> points = x.doubles();
        std::vector<double> expected;
        for (std::size_t i = 0; i < cotangent.size(); ++i) {
            const double h = 1e-5;
            const double at = points[i];
            expected.push_back(cotangent[i] * (reference(kind, at + h) - reference(kind, at - h)) /
                               (2 * h));
        }
        activation_backward(context, kind, x.view(), d_out.view(), d_out.view());
        EXPECT_LE(relative_error(d_out.doubles(), expected), kGradientTolerance) << to_string(kind);
    }
}

TYPED_TEST(ActivationTest, GatedForwardAndBackward) {
    using T = TypeParam;
    ThreadPool pool(2);
    Context context(pool);
    for (const Activation kind : kKinds) {
        for (const std::int64_t width : {1, 7, 33}) {
            const std::int64_t rows = 5;
            Tensor<T> gate_up({rows, 2 * width}, inputs(rows * 2 * width, 4));
            Tensor<T> out({rows, width});
            gated_forward(context, kind, gate_up.view(), out.view());
            EXPECT_LE(relative_error(out.doubles(), gated(gate_up.doubles(), kind, 5)),
                      kTolerance<T>);

            Tensor<T> d_out({rows, width}, random_values(rows * width, 5));
            Tensor<T> d_gate_up({rows, 2 * width}, T(99));
            gated_backward(context, kind, gate_up.view(), d_out.view(), d_gate_up.view());
            const auto loss = [&](const std::vector<double>& point) {
                return dot(gated(point, kind, 5), d_out.doubles());
            };
            EXPECT_LE(
                relative_error(d_gate_up.doubles(), numeric_gradient(gate_up.doubles(), loss)),
                kGradientTolerance)
                << to_string(kind) << ' ' << width;
        }
    }
}

TYPED_TEST(ActivationTest, GatedBackwardMayOverwriteItsInput) {
    using T = TypeParam;
    ThreadPool pool(1);
    Context context(pool);
    Tensor<T> gate_up({4, 66}, inputs(4 * 66, 6));
    Tensor<T> d_out({4, 33}, random_values(4 * 33, 7));
    Tensor<T> separate({4, 66});
    gated_backward(context, Activation::silu, gate_up.view(), d_out.view(), separate.view());
    gated_backward(context, Activation::silu, gate_up.view(), d_out.view(), gate_up.view());
    EXPECT_EQ(gate_up.values(), separate.values());
}

TYPED_TEST(ActivationTest, ExtremeInputsStayFinite) {
    using T = TypeParam;
    ThreadPool pool(1);
    Context context(pool);
    for (const Activation kind : kKinds) {
        if (kind == Activation::relu_squared) continue;  // the square of 1e30 is no float
        Tensor<T> x({6}, {-1e30, -200, -50, 50, 200, 1e30});
        Tensor<T> out({6});
        Tensor<T> d_x({6}, {1, 1, 1, 1, 1, 1});
        activation_forward(context, kind, x.view(), out.view());
        activation_backward(context, kind, x.view(), d_x.view(), d_x.view());
        const double left_slope = kind == Activation::leaky_relu ? 0.01 : 0;
        EXPECT_NEAR(static_cast<double>(out.values()[1]), -200 * left_slope, 1e-6);
        EXPECT_EQ(out.values()[5], T(1e30)) << to_string(kind);
        EXPECT_NEAR(static_cast<double>(d_x.values()[0]), left_slope, 1e-8) << to_string(kind);
        EXPECT_EQ(d_x.values()[5], T(1)) << to_string(kind);
    }
}

TYPED_TEST(ActivationTest, NanStaysNan) {
    using T = TypeParam;
    ThreadPool pool(1);
    Context context(pool);
    for (const Activation kind : kKinds) {
        Tensor<T> x({40}, T(1));
        x.values()[17] = std::numeric_limits<T>::quiet_NaN();
        Tensor<T> out({40});
        activation_forward(context, kind, x.view(), out.view());
        EXPECT_TRUE(std::isnan(out.values()[17])) << to_string(kind);
        EXPECT_FALSE(std::isnan(out.values()[16])) << to_string(kind);
    }
}

TEST(Activation, LeftTailOfGeluKeepsItsRelativeAccuracyInFloat) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> x({1}, -5.0F);
    Tensor<float> out({1});
    activation_forward(context, Activation::gelu, x.view(), out.view());
    const double expected = -5.0 * 0.5 * std::erfc(5.0 / std::sqrt(2.0));
    // The argument of the exponential, 12.5, carries a rounding error of up to 5e-7.
    EXPECT_NEAR(static_cast<double>(out.values()[0]) / expected, 1.0, 2e-6);
}

TEST(Activation, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        Tensor<float> gate_up({37, 2 * 1021}, inputs(37 * 2 * 1021, 8));
        Tensor<float> d_out({37, 1021}, random_values(37 * 1021, 9));
        gated_backward(context, Activation::gelu, gate_up.view(), d_out.view(), gate_up.view());
        return gate_up.values();
    });
}

TEST(Activation, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> x({3, 8});
    Tensor<float> narrow({3, 7});
    Tensor<double> other_type({3, 8});
    const auto kind = Activation::silu;
    expect_refused<std::invalid_argument>(
        [&] { activation_forward(context, kind, x.view(), narrow.view()); },
        {"activation_forward", "out", "[3, 7]", "[3, 8]"});
    expect_refused<std::invalid_argument>(
        [&] { activation_forward(context, kind, x.view(), other_type.view()); }, {"fp64", "fp32"});
    expect_refused<std::invalid_argument>(
        [&] { activation_backward(context, kind, x.view(), x.view(), narrow.view()); }, {"d_x"});
    expect_refused<std::invalid_argument>(
        [&] { gated_forward(context, kind, narrow.view(), x.view()); }, {"7", "even"});
    expect_refused<std::invalid_argument>(
        [&] { gated_forward(context, kind, x.view(), narrow.view()); }, {"[3, 4]"});
    expect_refused<std::invalid_argument>(
        [&] { activation_forward(context, kind, TensorView{}, x.view()); }, {"x"});
    const TensorView half(x.values().data(), DType::bfloat16, {3, 8});
    expect_refused<std::invalid_argument>([&] { activation_forward(context, kind, half, half); },
                                          {"bf16"});
}

}  // namespace
}  // namespace isoflop::ops::testing
