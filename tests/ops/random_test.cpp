#include "isoflop/ops/random.hpp"

#include "isoflop/base/philox.hpp"
#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

template <class T>
std::vector<T> normals(Context& context, std::int64_t count, std::uint64_t seed,
                       std::uint64_t stream, double deviation = 1.0) {
    Tensor<T> x({count});
    fill_normal(context, deviation, seed, stream, 0, x.view());
    return x.values();
}

template <class T>
class FillNormal : public ::testing::Test {};
TYPED_TEST_SUITE(FillNormal, ElementTypes);

TYPED_TEST(FillNormal, IsTheDocumentedFunctionOfSeedStreamAndIndex) {
    ThreadPool pool(2);
    Context context(pool);
    constexpr std::uint64_t kSeed = 0x123456789ABCDEFULL;
    constexpr std::uint64_t kStream = 0xFEDCBA9876543210ULL;
    const auto values = normals<TypeParam>(context, 20'003, kSeed, kStream, 0.02);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
        const PhiloxCounter words =
            philox({low(i / 4), 0, low(kStream), low(kStream >> 32U)}, philox_key(kSeed));
        const std::size_t pair = i % 4 / 2;
        const double u = (static_cast<double>(words[2 * pair]) + 1) * 0x1p-32;
        const double angle = 2 * M_PI * to_unit_interval(words[2 * pair + 1]);
        const double z =
            std::sqrt(-2 * std::log(u)) * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
        // float: u within 6e-8 of 1 keeps few digits of its logarithm.
        ASSERT_NEAR(values[i], 0.02 * z, sizeof(TypeParam) == sizeof(float) ? 4e-6 : 1e-6) << i;
    }
}

TYPED_TEST(FillNormal, ThreadCountsGiveTheSameValues) {
    std::vector<TypeParam> first;
    for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        Context context(pool);
        const auto values = normals<TypeParam>(context, 50'000, 7, 11);
        if (first.empty()) first = values;
        ASSERT_EQ(values, first) << threads << " threads";
    }
}

TYPED_TEST(FillNormal, PartsAreThoseOfTheWhole) {
    ThreadPool pool(2);
    Context context(pool);
    const auto whole = normals<TypeParam>(context, 20'000, 7, 11);
    for (const std::int64_t first : {0, 1, 2, 3, 4, 255, 256, 8193}) {
        Tensor<TypeParam> part({9001});
        fill_normal(context, 1.0, 7, 11, first, part.view());
        const std::vector<TypeParam> expected(whole.begin() + first, whole.begin() + first + 9001);
        ASSERT_EQ(part.values(), expected) << first;
    }
}

TEST(FillNormalDistribution, MomentsAndTailsAreNormal) {
    ThreadPool pool(2);
    Context context(pool);
    constexpr std::int64_t kCount = 4'000'000;
    const auto values = normals<float>(context, kCount, 1337, 42);
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    double neighbours = 0;
    std::int64_t beyond_two = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double z = static_cast<double>(values[i]);
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
        if (i > 0) neighbours += z * static_cast<double>(values[i - 1]);
        beyond_two += std::fabs(z) > 2 ? 1 : 0;
    }
    constexpr double kN = kCount;
    // Five standard errors each.
    EXPECT_NEAR(sum / kN, 0.0, 5 / std::sqrt(kN));
    EXPECT_NEAR(squares / kN, 1.0, 5 * std::sqrt(2 / kN));
    EXPECT_NEAR(fourth / kN, 3.0, 5 * std::sqrt(96 / kN));
    EXPECT_NEAR(neighbours / kN, 0.0, 5 / std::sqrt(kN));
    const double share = std::erfc(2 / std::sqrt(2.0));
    EXPECT_NEAR(static_cast<double>(beyond_two) / kN, share, 5 * std::sqrt(share / kN));
}

TEST(FillNormalDistribution, StreamsAndSeedsDiffer) {
    ThreadPool pool(1);
    Context context(pool);
    const auto values = normals<float>(context, 64, 1, 2);
    EXPECT_NE(values, normals<float>(context, 64, 1, 3));
    EXPECT_NE(values, normals<float>(context, 64, 2, 2));
}

}  // namespace
}  // namespace isoflop::ops::testing
