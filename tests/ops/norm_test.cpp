#include "isoflop/ops/norm.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

using model::Normalization;

constexpr double kEps = 1e-5;

struct Case {
    Normalization kind;
    bool bias;
    std::int64_t rows;
    std::int64_t width;
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t rows : {1, 7, 33}) {
        for (const std::int64_t width : {1, 7, 31, 33, 96}) {
            all.push_back({Normalization::rmsnorm, false, rows, width});
            all.push_back({Normalization::layernorm_nobias, false, rows, width});
            all.push_back({Normalization::layernorm, true, rows, width});
        }
    }
    return all;
}

bool centered(Normalization kind) {
    return kind != Normalization::rmsnorm;
}

std::vector<double> reference(Normalization kind, const std::vector<double>& x,
                              const std::vector<double>& weight, const std::vector<double>& bias) {
    const std::size_t width = weight.size();
    std::vector<double> out(x.size());
    for (std::size_t begin = 0; begin < x.size(); begin += width) {
        double mean = 0;
        for (std::size_t i = 0; i < width; ++i) mean += x[begin + i];
        mean = centered(kind) ? mean / static_cast<double>(width) : 0;
        double square = 0;
        for (std::size_t i = 0; i < width; ++i) square += std::pow(x[begin + i] - mean, 2);
        const double deviation = std::sqrt(square / static_cast<double>(width) + kEps);
        for (std::size_t i = 0; i < width; ++i) {
            out[begin + i] = (x[begin + i] - mean) / deviation * weight[i];
            if (!bias.empty()) out[begin + i] += bias[i];
        }
    }
    return out;
}

/// One norm with all its tensors; inputs have a mean, so that centring matters.
template <class T>
struct NormProblem {
    explicit NormProblem(const Case& c)
        : kind(c.kind),
          has_bias(c.bias),
          x({c.rows, c.width}, random_values(c.rows * c.width, 1, 0.5)),
          weight({c.width}, random_values(c.width, 2, 1)),
          bias({c.width}, random_values(c.width, 3)),
          out({c.rows, c.width}),
          statistics(centered(c.kind) ? Tensor<T>({2, c.rows}) : Tensor<T>({c.rows})),
          d_out({c.rows, c.width}, random_values(c.rows * c.width, 4)),
          d_x({c.rows, c.width}),
          d_weight({c.width}),
          d_bias({c.width}) {}

    [[nodiscard]] NormParameters parameters() {
        return {.kind = kind,
                .weight = weight.view(),
                .bias = has_bias ? bias.view() : TensorView{},
                .eps = kEps};
    }
    [[nodiscard]] std::vector<double> bias_values() const {
        return has_bias ? bias.doubles() : std::vector<double>{};
    }
    [[nodiscard]] TensorView d_bias_view() { return has_bias ? d_bias.view() : TensorView{}; }
    void forward(Context& context) {
        norm_forward(context, parameters(), x.view(), out.view(), statistics.view());
    }
    void backward(Context& context, bool accumulate) {
        norm_backward(context, parameters(), d_out.view(), x.view(), statistics.view(), accumulate,
                      d_x.view(), d_weight.view(), d_bias_view());
    }

    Normalization kind;
    bool has_bias;
    Tensor<T> x, weight, bias, out, statistics, d_out, d_x, d_weight, d_bias;
};

template <class T>
class NormTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(NormTest, ElementTypes);

TYPED_TEST(NormTest, ForwardIsTheFormula) {
    for (const Case& c : cases()) {
        NormProblem<TypeParam> problem(c);
        problem.forward(this->context);
        const auto expected =
            reference(c.kind, problem.x.doubles(), problem.weight.doubles(), problem.bias_values());
        // A row of one element minus its mean is 0 without bias: the floor of the norm is its
        // input's magnitude, hence the absolute comparison.
        const std::vector<double> out = problem.out.doubles();
        double worst = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            worst = std::max(worst, std::fabs(out[i] - expected[i]));
        }
        EXPECT_LE(worst, 5 * kTolerance<TypeParam>)
            << to_string(c.kind) << ' ' << c.rows << 'x' << c.width;
    }
}

TYPED_TEST(NormTest, BackwardIsTheGradient) {
    for (const Case& c : cases()) {
        if (centered(c.kind) && c.width == 1) continue;  // its output is constant
        SCOPED_TRACE(::testing::Message() << to_string(c.kind) << ' ' << c.rows << 'x' << c.width);
        NormProblem<TypeParam> problem(c);
        problem.forward(this->context);
        problem.backward(this->context, false);
        const auto x = problem.x.doubles();
        const auto weight = problem.weight.doubles();
        const auto bias = problem.bias_values();
        const auto d_out = problem.d_out.doubles();
        const auto of_x = [&](const std::vector<double>& point) {
            return dot(reference(c.kind, point, weight, bias), d_out);
        };
        const auto of_weight = [&](const std::vector<double>& point) {
            return dot(reference(c.kind, x, point, bias), d_out);
        };
        const auto of_bias = [&](const std::vector<double>& point) {
            return dot(reference(c.kind, x, weight, point), d_out);
        };
        // A row of one element has d_x = eps-sized differences of terms of size 1.
        const double tolerance = c.width == 1 ? 0.2 : kGradientTolerance * 2;
        EXPECT_LE(relative_error(problem.d_x.doubles(), numeric_gradient(x, of_x)), tolerance);
        EXPECT_LE(relative_error(problem.d_weight.doubles(), numeric_gradient(weight, of_weight)),
                  kGradientTolerance);
        if (!c.bias) continue;
        EXPECT_LE(relative_error(problem.d_bias.doubles(), numeric_gradient(bias, of_bias)),
                  kGradientTolerance);
    }
}

TYPED_TEST(NormTest, ParameterGradientsAddAndInputGradientAddsOnRequest) {
    using T = TypeParam;
    const Case c{Normalization::layernorm, true, 40, 33};
    NormProblem<T> plain(c);
    plain.forward(this->context);
    plain.backward(this->context, false);

    NormProblem<T> added(c);
    added.forward(this->context);
    for (Tensor<T>* tensor : {&added.d_x, &added.d_weight, &added.d_bias}) {
        for (T& value : tensor->values()) value = T(3);
    }
    added.backward(this->context, true);
    const auto expect_sum = [](const Tensor<T>& actual, const Tensor<T>& base) {
        std::vector<double> expected = base.doubles();
        for (double& value : expected) value += 3;
        EXPECT_LE(relative_error(actual.doubles(), expected), kTolerance<T>);
    };
    expect_sum(added.d_x, plain.d_x);
    expect_sum(added.d_weight, plain.d_weight);
    expect_sum(added.d_bias, plain.d_bias);
}

TYPED_TEST(NormTest, MayWorkInPlaceAsDocumented) {
    using T = TypeParam;
    for (const auto kind : {Normalization::rmsnorm, Normalization::layernorm}) {
        const Case c{kind, kind == Normalization::layernorm, 9, 65};
        NormProblem<T> problem(c);
        problem.forward(this->context);
        problem.backward(this->context, false);

        NormProblem<T> in_place(c);
        norm_forward(this->context, in_place.parameters(), in_place.x.view(), in_place.x.view(),
                     in_place.statistics.view());
        EXPECT_EQ(in_place.x.values(), problem.out.values());
        norm_backward(this->context, problem.parameters(), in_place.d_out.view(), problem.x.view(),
                      problem.statistics.view(), false, in_place.d_out.view(),
                      in_place.d_weight.view(), in_place.d_bias_view());
        EXPECT_EQ(in_place.d_out.values(), problem.d_x.values());
        EXPECT_EQ(in_place.d_weight.values(), problem.d_weight.values());
    }
}

TYPED_TEST(NormTest, AddNormIsAdditionThenNorm) {
    using T = TypeParam;
    const Case c{Normalization::rmsnorm, false, 7, 33};
    NormProblem<T> problem(c);
    Tensor<T> branch({7, 33}, random_values(7 * 33, 9));
    Tensor<T> expected_sum({7, 33});
    for (std::size_t i = 0; i < expected_sum.values().size(); ++i) {
        expected_sum.values()[i] = problem.x.values()[i] + branch.values()[i];
    }
    Tensor<T> residual = problem.x;
    add_norm_forward(this->context, problem.parameters(), residual.view(), branch.view(),
                     residual.view(), problem.out.view(), problem.statistics.view());
    EXPECT_EQ(residual.values(), expected_sum.values());
    const std::vector<T> fused = problem.out.values();
    problem.x = expected_sum;
    problem.forward(this->context);
    EXPECT_EQ(problem.out.values(), fused);
}

TEST(Norm, StatisticsAreWhatTheHeaderSays) {
    ThreadPool pool(1);
    Context context(pool);
    NormProblem<double> layer({Normalization::layernorm_nobias, false, 2, 2});
    layer.x = Tensor<double>({2, 2}, {1, 3, -2, 2});
    layer.forward(context);
    EXPECT_DOUBLE_EQ(layer.statistics.values()[0], 2);
    EXPECT_DOUBLE_EQ(layer.statistics.values()[1], 0);
    EXPECT_DOUBLE_EQ(layer.statistics.values()[2], 1 / std::sqrt(1 + kEps));
    EXPECT_DOUBLE_EQ(layer.statistics.values()[3], 1 / std::sqrt(4 + kEps));
    NormProblem<double> root({Normalization::rmsnorm, false, 2, 2});
    root.x = Tensor<double>({2, 2}, {1, 3, -2, 2});
    root.forward(context);
    EXPECT_DOUBLE_EQ(root.statistics.values()[0], 1 / std::sqrt(5 + kEps));
    EXPECT_DOUBLE_EQ(root.statistics.values()[1], 1 / std::sqrt(4 + kEps));
}

TEST(Norm, LargeMeanDoesNotDrownTheVarianceInFloat) {
    ThreadPool pool(1);
    Context context(pool);
    NormProblem<float> problem({Normalization::layernorm, true, 3, 257});
    for (float& value : problem.x.values()) value += 1000.0F;
    problem.forward(context);
    const auto expected = reference(Normalization::layernorm, problem.x.doubles(),
                                    problem.weight.doubles(), problem.bias.doubles());
    // The mean itself is rounded to 1000 * 6e-8 = 6e-5 of a standard deviation.
    EXPECT_LE(relative_error(problem.out.doubles(), expected), 2e-4);
}

TEST(Norm, EveryInstructionSetComputesTheGradient) {
    for_each_instruction_set([] {
        ThreadPool pool(1);
        Context context(pool);
        NormProblem<float> problem({Normalization::layernorm, true, 5, 97});
        NormProblem<double> exact({Normalization::layernorm, true, 5, 97});
        problem.forward(context);
        problem.backward(context, false);
        exact.forward(context);
        exact.backward(context, false);
        EXPECT_LE(relative_error(problem.out.doubles(), exact.out.doubles()), kTolerance<float>);
        EXPECT_LE(relative_error(problem.d_x.doubles(), exact.d_x.doubles()), kTolerance<float>);
        EXPECT_LE(relative_error(problem.d_weight.doubles(), exact.d_weight.doubles()),
                  kTolerance<float>);
    });
}

TEST(Norm, ThreadsChangeNoBit) {
    for (const std::int64_t rows : {1, 65, 1100}) {
        expect_same_bits_on_any_threads([&](Context& context) {
            NormProblem<float> problem({Normalization::layernorm, true, rows, 48});
            problem.forward(context);
            problem.backward(context, false);
            std::vector<float> all = problem.out.values();
            for (Tensor<float>* tensor : {&problem.d_x, &problem.d_weight, &problem.d_bias}) {
                all.insert(all.end(), tensor->values().begin(), tensor->values().end());
            }
            return all;
        });
    }
}

TEST(Norm, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    NormProblem<float> problem({Normalization::rmsnorm, false, 3, 8});
    Tensor<float> two_rows({2, 3});
    expect_refused<std::invalid_argument>(
        [&] {
            norm_forward(context, problem.parameters(), problem.x.view(), problem.out.view(),
                         two_rows.view());
        },
        {"norm_forward", "statistics", "[2, 3]", "[3]"});
    NormParameters with_bias = problem.parameters();
    with_bias.bias = problem.bias.view();
    expect_refused<std::invalid_argument>(
        [&] {
            norm_forward(context, with_bias, problem.x.view(), problem.out.view(),
                         problem.statistics.view());
        },
        {"rmsnorm", "bias"});
    expect_refused<std::invalid_argument>(
        [&] {
            norm_backward(context, problem.parameters(), problem.d_out.view(), problem.x.view(),
                          problem.statistics.view(), true, problem.d_out.view(),
                          problem.d_weight.view(), {});
        },
        {"d_x", "d_out"});
    expect_refused<std::invalid_argument>(
        [&] {
            norm_backward(context, problem.parameters(), problem.d_out.view(), problem.x.view(),
                          problem.statistics.view(), false, problem.d_x.view(),
                          problem.d_weight.view(), problem.d_bias.view());
        },
        {"bias", "empty"});
    expect_refused<std::invalid_argument>(
        [&] {
            add_norm_forward(context, problem.parameters(), problem.x.view(), problem.x.view(),
                             problem.out.view(), problem.out.view(), problem.statistics.view());
        },
        {"out", "sum"});
}

}  // namespace
}  // namespace isoflop::ops::testing
