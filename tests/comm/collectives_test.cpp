// The algorithms against sums made in the documented order by one thread, bit for bit.
#include "comm/collectives.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "comm/local_ranks.hpp"
#include "isoflop/base/half_precision.hpp"

namespace isoflop::comm {
namespace {

struct Bfloat16 {
    std::uint16_t bits = 0;
    friend bool operator==(Bfloat16, Bfloat16) = default;
};

template <class T>
constexpr SumType kSumType = SumType::float32;
template <>
constexpr SumType kSumType<double> = SumType::float64;
template <>
constexpr SumType kSumType<Bfloat16> = SumType::bfloat16;

template <class T>
T add(T a, T b) {
    return a + b;
}
Bfloat16 add(Bfloat16 a, Bfloat16 b) {
    return {float_to_bfloat16(bfloat16_to_float(a.bits) + bfloat16_to_float(b.bits))};
}

template <class T>
T made_from(double value) {
    if constexpr (std::is_same_v<T, Bfloat16>)
        return {float_to_bfloat16(static_cast<float>(value))};
    else
        return static_cast<T>(value);
}

/// Magnitudes over many orders, so that another order of additions gives other bits.
template <class T>
std::vector<T> input_of(int rank, std::size_t elements) {
    std::mt19937 random(static_cast<unsigned>(rank) + 1U);
    std::normal_distribution<double> normal;
    std::vector<T> values;
    for (std::size_t i = 0; i < elements; ++i)
        values.push_back(made_from<T>(normal(random) * std::exp(3 * normal(random))));
    return values;
}

/// ((0+1)+(2+3))+... for powers of two, else ((0+1)+2)+...
template <class T>
T documented_sum(std::vector<T> terms) {
    if (!std::has_single_bit(terms.size())) {
        return std::accumulate(terms.begin() + 1, terms.end(), terms.front(),
                               [](T a, T b) { return add(a, b); });
    }
    while (terms.size() > 1) {
        for (std::size_t i = 0; i < terms.size() / 2; ++i)
            terms[i] = add(terms[2 * i], terms[2 * i + 1]);
        terms.resize(terms.size() / 2);
    }
    return terms.front();
}

template <class T>
std::vector<T> documented_sums(int size, std::size_t elements) {
    std::vector<std::vector<T>> inputs;
    for (int rank = 0; rank < size; ++rank) inputs.push_back(input_of<T>(rank, elements));
    std::vector<T> sums;
    for (std::size_t i = 0; i < elements; ++i) {
        std::vector<T> terms;
        for (const std::vector<T>& input : inputs) terms.push_back(input[i]);
        sums.push_back(documented_sum(terms));
    }
    return sums;
}

template <class T>
SumTensor tensor_of(std::vector<T>& values) {
    return {.data = std::as_writable_bytes(std::span(values)).data(),
            .elements = values.size(),
            .type = kSumType<T>};
}

template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
    return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

constexpr int kSizes[] = {1, 2, 3, 4, 5, 8};
constexpr std::size_t kElementsPerPart = 1237;  // odd: pieces do not divide it

/// Runs body(transport) on every rank.
template <class Body>
void on_ranks(int size, const Body& body) {
    auto group = make_local_group(size, kTestTimeoutSeconds);
    run_threads(size, [&](int rank) { body(*group[static_cast<std::size_t>(rank)]); });
}

template <class T>
class Sums : public ::testing::Test {};
using SumTypes = ::testing::Types<float, double, Bfloat16>;
TYPED_TEST_SUITE(Sums, SumTypes);

TYPED_TEST(Sums, AllReduceAddsInTheDocumentedOrderOnEveryRank) {
    for (const int size : kSizes) {
        const std::size_t elements = kElementsPerPart * static_cast<std::size_t>(size);
        const auto expected = documented_sums<TypeParam>(size, elements);
        on_ranks(size, [&](PointToPoint& transport) {
            auto values = input_of<TypeParam>(transport.rank(), elements);
            Staging staging(staging_bytes(elements * sizeof(TypeParam), size));
            const std::uint64_t sent = all_reduce(transport, tensor_of(values), staging.span());
            EXPECT_TRUE(same_bits<TypeParam>(values, expected)) << size << " ranks";
            EXPECT_EQ(sent, 2 * (static_cast<std::size_t>(size) - 1) * kElementsPerPart *
                                sizeof(TypeParam));
        });
    }
}

TYPED_TEST(Sums, ReduceScatterLeavesPartROnRankR) {
    for (const int size : kSizes) {
        const std::size_t elements = kElementsPerPart * static_cast<std::size_t>(size);
        const auto expected = documented_sums<TypeParam>(size, elements);
        on_ranks(size, [&](PointToPoint& transport) {
            auto values = input_of<TypeParam>(transport.rank(), elements);
            Staging staging(staging_bytes(elements * sizeof(TypeParam), size));
            const std::uint64_t sent = reduce_scatter(transport, tensor_of(values), staging.span());
            const std::size_t first = static_cast<std::size_t>(transport.rank()) * kElementsPerPart;
            EXPECT_TRUE(same_bits<TypeParam>(std::span(values).subspan(first, kElementsPerPart),
                                             std::span(expected).subspan(first, kElementsPerPart)));
            EXPECT_EQ(sent,
                      (static_cast<std::size_t>(size) - 1) * kElementsPerPart * sizeof(TypeParam));
        });
    }
}

TYPED_TEST(Sums, DoNotDependOnTheLengthOfStaging) {
    for (const int size : {2, 3, 4, 5, 8}) {
        const std::size_t elements = kElementsPerPart * static_cast<std::size_t>(size);
        const auto expected = documented_sums<TypeParam>(size, elements);
        const std::uint64_t smallest = smallest_staging_bytes(size);
        for (const std::uint64_t bytes : {smallest, 3 * smallest + 40}) {
            on_ranks(size, [&](PointToPoint& transport) {
                auto values = input_of<TypeParam>(transport.rank(), elements);
                Staging staging(bytes);
                all_reduce(transport, tensor_of(values), staging.span());
                EXPECT_TRUE(same_bits<TypeParam>(values, expected)) << size << " ranks";
            });
        }
    }
}

TEST(Collectives, SumsOfBfloat16KeepNotANumberAndInfinity) {
    on_ranks(2, [](PointToPoint& transport) {
        const float infinity = std::numeric_limits<float>::infinity();
        const float special[] = {std::numeric_limits<float>::quiet_NaN(), infinity,
                                 transport.rank() == 0 ? infinity : -infinity, 1.0F};
        std::vector<Bfloat16> values;
        for (const float value : special) values.push_back(made_from<Bfloat16>(double{value}));
        Staging staging(smallest_staging_bytes(2));
        all_reduce(transport, tensor_of(values), staging.span());
        EXPECT_TRUE(std::isnan(bfloat16_to_float(values[0].bits)));
        EXPECT_EQ(bfloat16_to_float(values[1].bits), infinity);
        EXPECT_TRUE(std::isnan(bfloat16_to_float(values[2].bits)));
        EXPECT_EQ(bfloat16_to_float(values[3].bits), 2.0F);
    });
}

TEST(Collectives, StagingIsHalfOfATensorButBounded) {
    EXPECT_EQ(staging_bytes(1 << 20, 1), 0U);
    EXPECT_EQ(staging_bytes(1 << 20, 2), 1U << 19);
    EXPECT_EQ(staging_bytes(1 << 20, 8), 1U << 19);
    EXPECT_EQ(staging_bytes(3 << 20, 3), 2U << 20);
    EXPECT_EQ(staging_bytes(std::uint64_t{1} << 40, 4), 16U << 20);
    EXPECT_LE(staging_bytes(std::uint64_t{1} << 40, 7), 16U << 20);
    EXPECT_EQ(staging_bytes(8, 4), smallest_staging_bytes(4));
}

TEST(Collectives, AllGatherSendsEachPartOnce) {
    for (const int size : kSizes) {
        const auto parts = static_cast<std::size_t>(size);
        on_ranks(size, [&](PointToPoint& transport) {
            const std::size_t bytes = 37;
            std::vector<std::byte> values(bytes * parts);
            const auto first = static_cast<std::ptrdiff_t>(bytes) * transport.rank();
            std::fill_n(values.begin() + first, bytes,
                        static_cast<std::byte>(transport.rank() + 1));
            EXPECT_EQ(all_gather(transport, values), (parts - 1) * bytes);
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_EQ(values[i], static_cast<std::byte>(i / bytes + 1));
        });
    }
}

TEST(Collectives, EmptyTensorsNeedNoMessages) {
    on_ranks(4, [](PointToPoint& transport) {
        std::vector<float> none;
        Staging staging(smallest_staging_bytes(4));
        EXPECT_EQ(all_reduce(transport, tensor_of(none), staging.span()), 0U);
    });
}

}  // namespace
}  // namespace isoflop::comm
