#include "isoflop/ops/linear.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

struct Case {
    WeightOrder order;
    bool bias;
    std::int64_t rows, in, out;
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const auto order : {WeightOrder::out_in, WeightOrder::in_out}) {
        for (const bool bias : {false, true}) {
            all.push_back({order, bias, 1, 1, 1});
            all.push_back({order, bias, 7, 31, 33});
            all.push_back({order, bias, 33, 7, 1});
            all.push_back({order, bias, 40, 33, 7});
        }
    }
    return all;
}

template <class T>
struct LinearProblem {
    explicit LinearProblem(const Case& c)
        : shape(c),
          x({c.rows, c.in}, random_values(c.rows * c.in, 1)),
          weight(weight_like(c, random_values(c.in * c.out, 2))),
          bias({c.out}, random_values(c.out, 3)),
          y({c.rows, c.out}, T(77)),
          d_y({c.rows, c.out}, random_values(c.rows * c.out, 4)),
          d_x({c.rows, c.in}, T(2)),
          d_weight(weight_like(c, std::vector<double>(weight.values().size(), 2))),
          d_bias({c.out}, T(2)) {}

    static Tensor<T> weight_like(const Case& c, const std::vector<double>& values) {
        return c.order == WeightOrder::out_in ? Tensor<T>({c.out, c.in}, values)
                                              : Tensor<T>({c.in, c.out}, values);
    }
    [[nodiscard]] Linear layer() {
        return {.name = "ffn.up_proj",
                .weight = weight.view(),
                .bias = shape.bias ? bias.view() : TensorView{},
                .order = shape.order};
    }
    void backward_weight(Context& context) {
        linear_backward_weight(context, layer(), x.view(), d_y.view(), d_weight.view(),
                               shape.bias ? d_bias.view() : TensorView{});
    }

    Case shape;
    Tensor<T> x, weight, bias, y, d_y, d_x, d_weight, d_bias;
};

std::vector<double> reference(const Case& c, const std::vector<double>& x,
                              const std::vector<double>& weight, const std::vector<double>& bias) {
    std::vector<double> y;
    for (std::int64_t row = 0; row < c.rows; ++row) {
        for (std::int64_t out = 0; out < c.out; ++out) {
            double sum = c.bias ? bias[static_cast<std::size_t>(out)] : 0;
            for (std::int64_t in = 0; in < c.in; ++in) {
                const std::int64_t at =
                    c.order == WeightOrder::out_in ? out * c.in + in : in * c.out + out;
                sum += x[static_cast<std::size_t>(row * c.in + in)] *
                       weight[static_cast<std::size_t>(at)];
            }
            y.push_back(sum);
        }
    }
    return y;
}

std::vector<double> plus_two(std::vector<double> values) {
    for (double& value : values) value += 2;
    return values;
}

template <class T>
class LinearTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(LinearTest, ElementTypes);

TYPED_TEST(LinearTest, ForwardIsTheFormula) {
    for (const Case& c : cases()) {
        LinearProblem<TypeParam> problem(c);
        linear_forward(this->context, problem.layer(), problem.x.view(), problem.y.view());
        EXPECT_LE(relative_error(problem.y.doubles(),
                                 reference(c, problem.x.doubles(), problem.weight.doubles(),
                                           problem.bias.doubles())),
                  kTolerance<TypeParam>);
    }
}

TYPED_TEST(LinearTest, BackwardIsTheGradientAndAddsToParameterGradients) {
    for (const Case& c : cases()) {
        LinearProblem<TypeParam> problem(c);
        linear_backward_input(this->context, problem.layer(), problem.d_y.view(), false,
                              problem.d_x.view());
        problem.backward_weight(this->context);
        const auto x = problem.x.doubles();
        const auto weight = problem.weight.doubles();
        const auto bias = problem.bias.doubles();
        const auto d_y = problem.d_y.doubles();
        const auto of_x = [&](const std::vector<double>& point) {
            return dot(reference(c, point, weight, bias), d_y);
        };
        const auto of_weight = [&](const std::vector<double>& point) {
            return dot(reference(c, x, point, bias), d_y);
        };
        const auto of_bias = [&](const std::vector<double>& point) {
            return dot(reference(c, x, weight, point), d_y);
        };
        EXPECT_LE(relative_error(problem.d_x.doubles(), numeric_gradient(x, of_x)),
                  kGradientTolerance);
        EXPECT_LE(relative_error(problem.d_weight.doubles(),
                                 plus_two(numeric_gradient(weight, of_weight))),
                  kGradientTolerance);
        const auto expected_bias =
            c.bias ? plus_two(numeric_gradient(bias, of_bias)) : problem.d_bias.doubles();
        EXPECT_LE(relative_error(problem.d_bias.doubles(), expected_bias), kGradientTolerance);
    }
}

TYPED_TEST(LinearTest, InputGradientAddsOnRequest) {
    for (const Case& c : cases()) {
        LinearProblem<TypeParam> plain(c);
        linear_backward_input(this->context, plain.layer(), plain.d_y.view(), false,
                              plain.d_x.view());
        LinearProblem<TypeParam> added(c);
        linear_backward_input(this->context, added.layer(), added.d_y.view(), true,
                              added.d_x.view());
        EXPECT_LE(relative_error(added.d_x.doubles(), plus_two(plain.d_x.doubles())),
                  kTolerance<TypeParam>);
    }
}

TEST(Linear, RecordsEveryProduct) {
    ThreadPool pool(1);
    Context context(pool);
    device::ProductRecorder recorder;
    context.recorder = &recorder;
    LinearProblem<float> problem({WeightOrder::out_in, true, 7, 31, 33});
    linear_forward(context, problem.layer(), problem.x.view(), problem.y.view());
    linear_forward(context, problem.layer(), problem.x.view(), problem.y.view(),
                   cost::Pass::recompute);
    linear_backward_input(context, problem.layer(), problem.d_y.view(), false, problem.d_x.view());
    problem.backward_weight(context);
    EXPECT_EQ(recorder.total_flops(), 4U * 2 * 7 * 31 * 33);
    std::uint64_t backward = 0;
    for (const auto& entry : recorder.entries()) {
        EXPECT_EQ(entry.name, "ffn.up_proj");
        if (entry.pass == cost::Pass::backward) backward += entry.multiply_adds;
    }
    EXPECT_EQ(backward, 2U * 7 * 31 * 33);
}

TEST(Linear, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        LinearProblem<float> problem({WeightOrder::out_in, true, 1100, 33, 65});
        linear_forward(context, problem.layer(), problem.x.view(), problem.y.view());
        linear_backward_input(context, problem.layer(), problem.d_y.view(), true,
                              problem.d_x.view());
        problem.backward_weight(context);
        std::vector<float> all;
        for (auto* tensor : {&problem.y, &problem.d_x, &problem.d_weight, &problem.d_bias}) {
            all.insert(all.end(), tensor->values().begin(), tensor->values().end());
        }
        return all;
    });
}

TEST(Linear, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    LinearProblem<float> problem({WeightOrder::out_in, true, 7, 31, 33});
    expect_refused<std::invalid_argument>(
        [&] { linear_forward(context, problem.layer(), problem.y.view(), problem.x.view()); },
        {"linear_forward", "x is fp32 [7, 33]", "[7, 31]"});
    expect_refused<std::invalid_argument>(
        [&] {
            linear_backward_weight(context, problem.layer(), problem.x.view(), problem.d_y.view(),
                                   problem.d_weight.view(), {});
        },
        {"d_bias is empty"});
    Linear turned = problem.layer();
    turned.order = WeightOrder::in_out;
    expect_refused<std::invalid_argument>(
        [&] { linear_forward(context, turned, problem.x.view(), problem.y.view()); },
        {"bias", "[33]", "[31]"});
}

}  // namespace
}  // namespace isoflop::ops::testing
