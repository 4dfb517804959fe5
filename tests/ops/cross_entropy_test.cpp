#include "isoflop/ops/cross_entropy.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

constexpr auto kVocabularies = {1, 7, 31, 33, 5000};

std::vector<double> reference_losses(const std::vector<double>& logits,
                                     const std::vector<std::int32_t>& targets,
                                     std::int32_t ignore_index = kIgnoreIndex) {
    const std::size_t width = logits.size() / targets.size();
    std::vector<double> losses;
    for (std::size_t row = 0; row < targets.size(); ++row) {
        const double* const z = logits.data() + row * width;
        const double maximum = *std::max_element(z, z + width);
        double sum = 0;
        for (std::size_t i = 0; i < width; ++i) sum += std::exp(z[i] - maximum);
        losses.push_back(targets[row] == ignore_index ? 0
                                                      : std::log(sum) + maximum - z[targets[row]]);
    }
    return losses;
}

template <class T>
class CrossEntropyTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(CrossEntropyTest, ElementTypes);

TYPED_TEST(CrossEntropyTest, ForwardIsTheFormulaAndKeepsTheLogits) {
    using T = TypeParam;
    for (const std::int32_t vocabulary : kVocabularies) {
        const std::int64_t rows = 7;
        Tensor<T> logits({rows, vocabulary}, random_values(rows * vocabulary, 1, 20));
        const auto before = logits.values();
        const auto targets = random_tokens(rows, vocabulary, 2);
        Tensor<T> losses({rows});
        cross_entropy_forward(this->context, logits.view(), targets, kIgnoreIndex, losses.view());
        EXPECT_LE(relative_error(losses.doubles(), reference_losses(logits.doubles(), targets)),
                  kTolerance<T>)
            << vocabulary;
        EXPECT_EQ(logits.values(), before);
    }
}

TYPED_TEST(CrossEntropyTest, GradientMatchesCentralDifferences) {
    using T = TypeParam;
    for (const std::int32_t vocabulary : {7, 31, 33, 130}) {
        const std::int64_t rows = 3;
        const double scale = 0.25;
        Tensor<T> logits({rows, vocabulary}, random_values(rows * vocabulary, 3));
        const auto targets = random_tokens(rows, vocabulary, 4);
        Tensor<T> losses({rows});
        const auto loss = [&](const std::vector<double>& point) {
            double total = 0;
            for (const double value : reference_losses(point, targets)) total += value;
            return scale * total;
        };
        const auto expected = numeric_gradient(logits.doubles(), loss);
        const auto expected_losses = reference_losses(logits.doubles(), targets);
        cross_entropy_forward_backward(this->context, logits.view(), targets, kIgnoreIndex, scale,
                                       losses.view());
        EXPECT_LE(relative_error(logits.doubles(), expected), kGradientTolerance) << vocabulary;
        EXPECT_LE(relative_error(losses.doubles(), expected_losses), kTolerance<T>);
    }
}

TYPED_TEST(CrossEntropyTest, IgnoredRowsHaveNoLossAndNoGradientWhateverTheyHold) {
    using T = TypeParam;
    for (const std::int32_t ignore : {kIgnoreIndex, 3}) {
        Tensor<T> logits({3, 33}, random_values(3 * 33, 5));
        logits.values()[33] = std::numeric_limits<T>::quiet_NaN();
        const std::vector<std::int32_t> targets = {2, ignore, 5};
        Tensor<T> losses({3}, T(9));
        cross_entropy_forward_backward(this->context, logits.view(), targets, ignore, 1,
                                       losses.view());
        EXPECT_EQ(losses.values()[1], T(0));
        EXPECT_GT(losses.values()[0], T(0));
        for (std::size_t i = 33; i < 66; ++i) EXPECT_EQ(logits.values()[i], T(0));
    }
}

TYPED_TEST(CrossEntropyTest, LargeLogitsAndMaskedBlocksAreExact) {
    using T = TypeParam;
    const std::int64_t vocabulary = 5000;
    const T infinity = std::numeric_limits<T>::infinity();
    Tensor<T> logits({1, vocabulary}, -infinity);
    logits.values()[4000] = T(1e4);
    logits.values()[4999] = T(1e4);
    Tensor<T> losses({1});
    cross_entropy_forward_backward(this->context, logits.view(), std::vector<std::int32_t>{4000},
                                   kIgnoreIndex, 1, losses.view());
    EXPECT_NEAR(static_cast<double>(losses.values()[0]), std::log(2.0), kTolerance<T>);
    EXPECT_NEAR(static_cast<double>(logits.values()[4000]), -0.5, kTolerance<T>);
    EXPECT_NEAR(static_cast<double>(logits.values()[4999]), 0.5, kTolerance<T>);
    EXPECT_EQ(logits.values()[0], T(0));
}

TYPED_TEST(CrossEntropyTest, NonFiniteLogitsReachTheirOwnRowOnly) {
    using T = TypeParam;
    for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
        Tensor<T> logits({2, 2500}, random_values(5000, 6));
        logits.values()[2400] = bad;
        Tensor<T> losses({2});
        cross_entropy_forward(this->context, logits.view(), std::vector<std::int32_t>{1, 1},
                              kIgnoreIndex, losses.view());
        EXPECT_TRUE(std::isnan(losses.values()[0]));
        EXPECT_TRUE(std::isfinite(losses.values()[1]));
    }
}

TEST(CrossEntropy, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        Tensor<float> logits({37, 4099}, random_values(37 * 4099, 7));
        Tensor<float> losses({37});
        cross_entropy_forward_backward(context, logits.view(), random_tokens(37, 4099, 8),
                                       kIgnoreIndex, 1, losses.view());
        std::vector<float> all = logits.values();
        all.insert(all.end(), losses.values().begin(), losses.values().end());
        return all;
    });
}

TEST(CrossEntropy, EveryInstructionSetAgreesWithDouble) {
    for_each_instruction_set([] {
        ThreadPool pool(1);
        Context context(pool);
        Tensor<float> logits({5, 4099}, random_values(5 * 4099, 9));
        Tensor<double> exact({5, 4099}, random_values(5 * 4099, 9));
        Tensor<float> losses({5});
        Tensor<double> exact_losses({5});
        const auto targets = random_tokens(5, 4099, 10);
        cross_entropy_forward_backward(context, logits.view(), targets, kIgnoreIndex, 1,
                                       losses.view());
        cross_entropy_forward_backward(context, exact.view(), targets, kIgnoreIndex, 1,
                                       exact_losses.view());
        EXPECT_LE(relative_error(logits.doubles(), exact.doubles()), kTolerance<float>);
        EXPECT_LE(relative_error(losses.doubles(), exact_losses.doubles()), kTolerance<float>);
    });
}

TEST(CrossEntropy, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> logits({2, 8});
    Tensor<float> losses({2});
    const auto run = [&](std::vector<std::int32_t> targets, Tensor<float>& to) {
        cross_entropy_forward(context, logits.view(), targets, kIgnoreIndex, to.view());
    };
    expect_refused<std::out_of_range>([&] { run({1, 8}, losses); }, {"targets[1] is 8", "0 to 7"});
    expect_refused<std::out_of_range>([&] { run({-1, 0}, losses); }, {"targets[0] is -1"});
    expect_refused<std::invalid_argument>([&] { run({1}, losses); }, {"1 values", "2 rows"});
    Tensor<float> three({3});
    expect_refused<std::invalid_argument>([&] { run({1, 1}, three); }, {"losses", "[3]", "[2]"});
}

}  // namespace
}  // namespace isoflop::ops::testing
