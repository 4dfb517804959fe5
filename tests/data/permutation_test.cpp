#include "isoflop/data/permutation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace isoflop::data {
namespace {

bool is_bijection(const Permutation& permutation) {
    std::vector<bool> seen(permutation.size());
    for (std::uint64_t index = 0; index < permutation.size(); ++index) {
        const std::uint64_t value = permutation(index);
        if (value >= permutation.size() || seen[value]) return false;
        seen[value] = true;
    }
    return true;
}

TEST(Permutation, IsABijectionForEverySmallSize) {
    for (std::uint64_t size = 1; size <= 700; ++size)
        EXPECT_TRUE(is_bijection(Permutation(size, 1337, size % 5)));
}

TEST(Permutation, IsABijectionForManySizesSeedsAndEpochs) {
    std::mt19937_64 generator(7);
    for (int round = 0; round < 25; ++round) {
        const std::uint64_t size = 1 + generator() % 40000;
        EXPECT_TRUE(is_bijection(
            Permutation(size, generator(), generator(), static_cast<std::uint32_t>(round))))
            << size;
    }
    for (const std::uint64_t size : {65535ULL, 65536ULL, 65537ULL, 1ULL << 18U}) {
        EXPECT_TRUE(is_bijection(Permutation(size, 1, 0)));
    }
}

TEST(Permutation, StaysInsideHugeSizes) {
    for (const std::uint64_t size : {(1ULL << 40U) + 1, (1ULL << 63U) + 12345, ~0ULL}) {
        const Permutation permutation(size, 3, 9);
        for (std::uint64_t index = 0; index < 200; ++index)
            EXPECT_LT(permutation(size - 1 - index), size);
    }
}

TEST(Permutation, DependsOnSeedEpochAndStream) {
    const auto first_hundred = [](const Permutation& permutation) {
        std::vector<std::uint64_t> values;
        for (std::uint64_t index = 0; index < 100; ++index) values.push_back(permutation(index));
        return values;
    };
    const auto reference = first_hundred(Permutation(1000, 1, 2, 3));
    EXPECT_EQ(first_hundred(Permutation(1000, 1, 2, 3)), reference);
    EXPECT_NE(first_hundred(Permutation(1000, 2, 2, 3)), reference);
    EXPECT_NE(first_hundred(Permutation(1000, 1, 3, 3)), reference);
    EXPECT_NE(first_hundred(Permutation(1000, 1, 2, 4)), reference);
}

// Chi-square over the n x n table of where each index goes. A cell of a true shuffle has the
// variance E (1 - 1/n), E being its mean, so the sum has the mean n (n - 1), not the (n - 1)^2 of a
// free table, and the standard deviation n sqrt(2). A shuffle measured beside it stays below 2.4
// deviations for these sizes; the limit is 4, and two rounds of the network in place of eight
// exceed it.
TEST(Permutation, SendsEveryIndexEverywhereAboutEquallyOften) {
    constexpr double kExpected = 300;
    for (const std::uint64_t size : {5ULL, 12ULL, 33ULL}) {
        std::vector<double> counts(size * size);
        for (std::uint64_t seed = 0; seed < 300 * size; ++seed) {
            const Permutation permutation(size, seed, 0);
            for (std::uint64_t index = 0; index < size; ++index)
                ++counts[index * size + permutation(index)];
        }
        double chi_square = 0;
        for (const double count : counts)
            chi_square += (count - kExpected) * (count - kExpected) / kExpected;
        const auto n = static_cast<double>(size);
        EXPECT_LT((chi_square - n * (n - 1)) / (n * std::sqrt(2.0)), 4.0) << size;
    }
}

TEST(Permutation, LeavesNoRunsInOrder) {
    const Permutation permutation(100000, 1337, 0);
    int neighbours = 0;
    for (std::uint64_t index = 1; index < 100000; ++index) {
        neighbours += permutation(index) == permutation(index - 1) + 1 ? 1 : 0;
    }
    EXPECT_LT(neighbours, 10);  // expected 1
}

}  // namespace
}  // namespace isoflop::data
