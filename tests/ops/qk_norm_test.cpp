#include "isoflop/ops/qk_norm.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

struct Case {
    std::int64_t rows;
    QkNormShape shape;
    std::int64_t extra_columns;  ///< the value heads behind the keys
};

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {1, {.query_heads = 1, .key_heads = 1, .head_dim = 2}, 0},
        {7, {.query_heads = 3, .key_heads = 1, .head_dim = 7}, 7},
        {33, {.query_heads = 4, .key_heads = 2, .head_dim = 32}, 64},
        {5, {.query_heads = 2, .key_heads = 2, .head_dim = 33}, 1},
    };
    return all;
}

template <class T>
struct QkNormProblem {
    explicit QkNormProblem(const Case& c)
        : shape(c.shape),
          heads(c.shape.query_heads + c.shape.key_heads),
          width(heads * c.shape.head_dim + c.extra_columns),
          packed({c.rows, width}, random_values(c.rows * width, 1)),
          query_weight({shape.head_dim}, random_values(shape.head_dim, 2, 1)),
          key_weight({shape.head_dim}, random_values(shape.head_dim, 3, 1)),
          before({c.rows, heads * shape.head_dim}),
          statistics({c.rows, heads}),
          gradient({c.rows, width}, random_values(c.rows * width, 4)),
          d_query_weight({shape.head_dim}),
          d_key_weight({shape.head_dim}) {}

    void forward(Context& context) {
        qk_norm_forward(context, shape, query_weight.view(), key_weight.view(), packed.view(),
                        before.view(), statistics.view());
    }
    void backward(Context& context) {
        qk_norm_backward(context, shape, query_weight.view(), key_weight.view(), before.view(),
                         statistics.view(), gradient.view(), d_query_weight.view(),
                         d_key_weight.view());
    }

    QkNormShape shape;
    std::int64_t heads, width;
    Tensor<T> packed, query_weight, key_weight, before, statistics, gradient, d_query_weight,
        d_key_weight;
};

std::vector<double> reference(const QkNormShape& shape, std::int64_t width,
                              std::vector<double> packed, const std::vector<double>& query_weight,
                              const std::vector<double>& key_weight) {
    const auto rows = std::ssize(packed) / width;
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t head = 0; head < shape.query_heads + shape.key_heads; ++head) {
            double* const x = packed.data() + row * width + head * shape.head_dim;
            const double* const weight =
                head < shape.query_heads ? query_weight.data() : key_weight.data();
            double square = 0;
            for (std::int64_t i = 0; i < shape.head_dim; ++i) square += x[i] * x[i];
            const double root = std::sqrt(square / static_cast<double>(shape.head_dim) + shape.eps);
            for (std::int64_t i = 0; i < shape.head_dim; ++i) x[i] = x[i] / root * weight[i];
        }
    }
    return packed;
}

template <class T>
class QkNormTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(QkNormTest, ElementTypes);

TYPED_TEST(QkNormTest, ForwardNormalisesHeadsAndKeepsTheirValuesAside) {
    for (const Case& c : cases()) {
        QkNormProblem<TypeParam> problem(c);
        const std::vector<double> raw = problem.packed.doubles();
        problem.forward(this->context);
        EXPECT_LE(relative_error(problem.packed.doubles(), reference(c.shape, problem.width, raw,
                                                                     problem.query_weight.doubles(),
                                                                     problem.key_weight.doubles())),
                  kTolerance<TypeParam>);
        const std::vector<double> before = problem.before.doubles();
        const std::vector<double> packed = problem.packed.doubles();
        const std::int64_t normed = problem.heads * c.shape.head_dim;
        for (std::int64_t row = 0; row < c.rows; ++row) {
            const auto at = [&](std::int64_t stride, std::int64_t column) {
                return static_cast<std::size_t>(row * stride + column);
            };
            for (std::int64_t i = 0; i < normed; ++i) {
                ASSERT_EQ(before[at(normed, i)], raw[at(problem.width, i)]);
            }
            for (std::int64_t i = normed; i < problem.width; ++i) {
                ASSERT_EQ(packed[at(problem.width, i)], raw[at(problem.width, i)]);
            }
        }
    }
}

TYPED_TEST(QkNormTest, BackwardIsTheGradient) {
    for (const Case& c : cases()) {
        QkNormProblem<TypeParam> problem(c);
        const auto x = problem.packed.doubles();
        const auto query = problem.query_weight.doubles();
        const auto key = problem.key_weight.doubles();
        const auto d_out = problem.gradient.doubles();
        problem.forward(this->context);
        problem.backward(this->context);
        const auto loss = [&](const auto& packed, const auto& query_point, const auto& key_point) {
            return dot(reference(c.shape, problem.width, packed, query_point, key_point), d_out);
        };
        // Heads of two elements have nearly cancelling gradients: 4e-6 in float.
        const double tolerance = sizeof(TypeParam) == 4 ? 4e-6 : kGradientTolerance;
        EXPECT_LE(
            relative_error(
                problem.gradient.doubles(),
                numeric_gradient(x, [&](const auto& point) { return loss(point, query, key); })),
            tolerance);
        EXPECT_LE(
            relative_error(
                problem.d_query_weight.doubles(),
                numeric_gradient(query, [&](const auto& point) { return loss(x, point, key); })),
            kGradientTolerance);
        EXPECT_LE(
            relative_error(
                problem.d_key_weight.doubles(),
                numeric_gradient(key, [&](const auto& point) { return loss(x, query, point); })),
            kGradientTolerance);
    }
}

TEST(QkNorm, WeightGradientsAdd) {
    ThreadPool pool(2);
    Context context(pool);
    QkNormProblem<double> once(cases()[2]);
    once.forward(context);
    const auto gradient = once.gradient;
    once.backward(context);
    QkNormProblem<double> twice(cases()[2]);
    twice.forward(context);
    twice.backward(context);
    twice.gradient = gradient;
    twice.backward(context);
    for (std::size_t i = 0; i < 32; ++i) {
        EXPECT_DOUBLE_EQ(twice.d_query_weight.values()[i], 2 * once.d_query_weight.values()[i]);
        EXPECT_DOUBLE_EQ(twice.d_key_weight.values()[i], 2 * once.d_key_weight.values()[i]);
    }
}

TEST(QkNorm, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        QkNormProblem<float> problem({1100, {.query_heads = 3, .key_heads = 2, .head_dim = 16}, 5});
        problem.forward(context);
        problem.backward(context);
        std::vector<float> all = problem.packed.values();
        for (Tensor<float>* tensor :
             {&problem.gradient, &problem.d_query_weight, &problem.d_key_weight}) {
            all.insert(all.end(), tensor->values().begin(), tensor->values().end());
        }
        return all;
    });
}

TEST(QkNorm, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    QkNormProblem<float> problem(cases()[1]);
    problem.shape.query_heads = 5;
    expect_refused<std::invalid_argument>([&] { problem.forward(context); },
                                          {"qk_norm_forward", "packed has 35 columns", "42"});
    problem.shape.query_heads = 2;
    expect_refused<std::invalid_argument>([&] { problem.forward(context); }, {"before"});
}

}  // namespace
}  // namespace isoflop::ops::testing
