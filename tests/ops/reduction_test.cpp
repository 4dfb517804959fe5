#include "isoflop/ops/reduction.hpp"

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

constexpr auto kSizes = {0, 1, 7, 31, 33, 8191, 8193, 100'003};

template <class T>
class ReductionTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(ReductionTest, ElementTypes);

TYPED_TEST(ReductionTest, SumsAndStatisticsAreTheFormulas) {
    using T = TypeParam;
    for (const std::int64_t size : kSizes) {
        SCOPED_TRACE(size);
        Tensor<T> x({size}, random_values(size, 1, 0.25));
        double total = 0;
        double squares = 0;
        double low = size > 0 ? x.doubles()[0] : 0;
        double high = low;
        for (const double value : x.doubles()) {
            total += value;
            squares += value * value;
            low = std::min(low, value);
            high = std::max(high, value);
        }
        // Both sides add in double, in different orders.
        const double tolerance = 1e-12 * (1 + squares);
        EXPECT_NEAR(sum(this->context, x.view()), total, tolerance);
        EXPECT_NEAR(sum_of_squares(this->context, x.view()), squares, tolerance);
        const TensorStatistics all = statistics(this->context, x.view());
        EXPECT_EQ(all.count, size);
        EXPECT_EQ(all.non_finite, 0);
        EXPECT_NEAR(all.sum, total, tolerance);
        EXPECT_NEAR(all.sum_of_squares, squares, tolerance);
        EXPECT_EQ(all.minimum, low);
        EXPECT_EQ(all.maximum, high);
        if (size < 2) continue;
        const double mean = total / static_cast<double>(size);
        double variance = 0;
        for (const double value : x.doubles()) variance += (value - mean) * (value - mean);
        EXPECT_NEAR(all.mean(), mean, 1e-12);
        EXPECT_NEAR(all.standard_deviation(), std::sqrt(variance / static_cast<double>(size)),
                    1e-10);
    }
}

TYPED_TEST(ReductionTest, NonFiniteElementsAreCountedAndLeftOut) {
    using T = TypeParam;
    Tensor<T> x({20'000}, T(2));
    x.values()[3] = std::numeric_limits<T>::quiet_NaN();
    x.values()[9000] = std::numeric_limits<T>::infinity();
    x.values()[19'999] = -std::numeric_limits<T>::infinity();
    x.values()[5] = T(-1);
    const TensorStatistics all = statistics(this->context, x.view());
    EXPECT_EQ(all.count, 19'997);
    EXPECT_EQ(all.non_finite, 3);
    EXPECT_EQ(all.sum, 2 * 19'996 - 1);
    EXPECT_EQ(all.sum_of_squares, 4 * 19'996 + 1);
    EXPECT_EQ(all.minimum, -1);
    EXPECT_EQ(all.maximum, 2);
    EXPECT_FALSE(std::isfinite(sum_of_squares(this->context, x.view())));

    Tensor<T> none({2}, std::numeric_limits<T>::quiet_NaN());
    const TensorStatistics nothing = statistics(this->context, none.view());
    EXPECT_EQ(nothing.count, 0);
    EXPECT_EQ(nothing.non_finite, 2);
    EXPECT_EQ(nothing.mean(), 0);
    EXPECT_EQ(nothing.standard_deviation(), 0);
    const TensorStatistics both = combine(nothing, all);
    EXPECT_EQ(both.non_finite, 5);
    EXPECT_EQ(both.minimum, -1);
}

TYPED_TEST(ReductionTest, CombinedStatisticsAreThoseOfTheWhole) {
    using T = TypeParam;
    const auto values = random_values(500, 2);
    Tensor<T> whole({500}, values);
    Tensor<T> front({200}, {values.begin(), values.begin() + 200});
    Tensor<T> back({300}, {values.begin() + 200, values.end()});
    const TensorStatistics expected = statistics(this->context, whole.view());
    const TensorStatistics actual =
        combine(statistics(this->context, front.view()), statistics(this->context, back.view()));
    EXPECT_EQ(actual.count, expected.count);
    EXPECT_NEAR(actual.sum, expected.sum, 1e-11);
    EXPECT_NEAR(actual.sum_of_squares, expected.sum_of_squares, 1e-11);
    EXPECT_EQ(actual.minimum, expected.minimum);
    EXPECT_EQ(actual.maximum, expected.maximum);
}

TYPED_TEST(ReductionTest, ElementwiseOpsInPlaceAndApart) {
    using T = TypeParam;
    for (const std::int64_t size : kSizes) {
        Tensor<T> x({size}, random_values(size, 3));
        Tensor<T> y({size}, random_values(size, 4));
        Tensor<T> expected({size});
        for (std::size_t i = 0; i < x.values().size(); ++i) {
            expected.values()[i] = x.values()[i] + y.values()[i];
        }
        Tensor<T> out({size});
        add(this->context, x.view(), y.view(), out.view());
        EXPECT_EQ(out.values(), expected.values());
        Tensor<T> in_place = y;
        add(this->context, x.view(), in_place.view(), in_place.view());
        EXPECT_EQ(in_place.values(), expected.values());
        add(this->context, x.view(), y.view(), x.view());
        EXPECT_EQ(x.values(), expected.values());

        scale(this->context, -0.5, x.view());
        for (T& value : expected.values()) value *= T(-0.5);
        EXPECT_EQ(x.values(), expected.values());
        copy(this->context, x.view(), out.view());
        EXPECT_EQ(out.values(), expected.values());
        fill(this->context, 1.25, x.view());
        EXPECT_EQ(x.values(), std::vector<T>(x.values().size(), T(1.25)));
    }
}

TEST(Reduction, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        Tensor<float> x({100'003}, random_values(100'003, 5));
        const TensorStatistics all = statistics(context, x.view());
        return std::vector<double>{sum(context, x.view()), sum_of_squares(context, x.view()),
                                   all.sum, all.sum_of_squares};
    });
}

TEST(Reduction, CopyConvertsBetweenTypes) {
    ThreadPool pool(2);
    Context context(pool);
    Tensor<double> x({3}, {1.0, 1.0 / 3.0, -2e-30});
    Tensor<float> rounded({3});
    copy(context, x.view(), rounded.view());
    EXPECT_EQ(rounded.values(), (std::vector<float>{1.0F, 1.0F / 3.0F, -2e-30F}));
    Tensor<double> widened({3});
    copy(context, rounded.view(), widened.view());
    EXPECT_EQ(widened.doubles(), rounded.doubles());
}

TEST(Reduction, ChecksumSeesEveryBitAndPlace) {
    ThreadPool one(1);
    ThreadPool two(2);
    Context context(one);
    Context parallel(two);
    Tensor<float> x({100'003}, 1.5F);
    const std::uint64_t before = checksum(context, x.view());
    EXPECT_EQ(checksum(parallel, x.view()), before);
    x.values()[70'000] = std::nextafter(1.5F, 2.0F);
    const std::uint64_t changed = checksum(context, x.view());
    EXPECT_NE(changed, before);
    std::swap(x.values()[70'000], x.values()[3]);
    EXPECT_NE(checksum(context, x.view()), changed);
    EXPECT_NE(checksum(context, x.view()), before);
}

TEST(Reduction, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> x({4});
    Tensor<float> longer({5});
    expect_refused<std::invalid_argument>([&] { add(context, x.view(), longer.view(), x.view()); },
                                          {"add", "y", "[5]", "[4]"});
    expect_refused<std::invalid_argument>([&] { copy(context, x.view(), longer.view()); },
                                          {"copy", "to", "[5]", "[4]"});
    expect_refused<std::invalid_argument>(
        [&] { fill(context, 0, TensorView(nullptr, DType::float32, {4})); }, {"fill", "x"});
}

}  // namespace
}  // namespace isoflop::ops::testing
