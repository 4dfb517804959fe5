// Sums, statistics and checksums of flat tensors.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "isoflop/ops/reduction.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

constexpr std::array<std::int64_t, 7> kSizes{0, 1, 7, 31, 33, 256, 9001};
constexpr std::int64_t kManyElements = 1'000'003;

class ReductionOnDevice : public DeviceOp {
protected:
    template <class Check>
    void for_types_sizes_and_shifts(const Check& check) {
        for (const DType dtype : storage_types()) {
            for (const std::int64_t size : kSizes) {
                for (const std::int64_t shift : {0, 1}) {
                    SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(size) +
                                 " elements, shifted by " + std::to_string(shift));
                    const DeviceTensor x(*device_, dtype, {size}, random_values(size, 1, 0.5),
                                         shift);
                    HostTensor host({size}, x.values());
                    check(x, host);
                }
            }
        }
    }
};

/// Sums in double, in another order.
constexpr double kTolerance = 1e-13;

TEST_F(ReductionOnDevice, SumsAreThoseOfTheReference) {
    for_types_sizes_and_shifts([&](const DeviceTensor& x, HostTensor& host) {
        const double scale = static_cast<double>(x.view().size());
        EXPECT_NEAR(ops::sum(context_, x.view()), ops::sum(host_, host.view()), kTolerance * scale);
        EXPECT_NEAR(ops::sum_of_squares(context_, x.view()),
                    ops::sum_of_squares(host_, host.view()), kTolerance * scale);
    });
}

TEST_F(ReductionOnDevice, DeferredSumsKeepTheirPlaces) {
    const DeviceTensor x(*device_, DType::float32, {3}, {1, 2, 3});
    const ops::DeferredValue sum = ops::deferred_sum(context_, x.view());
    const ops::DeferredValue squares = ops::deferred_sum_of_squares(context_, x.view());
    EXPECT_EQ(sum.get(), 6);
    EXPECT_EQ(squares.get(), 14);
}

TEST_F(ReductionOnDevice, LargeFiniteNumbersHaveFiniteSquares) {
    const DeviceTensor x(*device_, narrow(DType::bfloat16), {9}, std::vector<double>(9, 1e38));
    const double square = x.values()[0] * x.values()[0];
    EXPECT_DOUBLE_EQ(ops::sum_of_squares(context_, x.view()), 9 * square);
}

TEST_F(ReductionOnDevice, NonFiniteElementsShow) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    for (const DType dtype : storage_types()) {
        for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
            std::vector<double> values = random_values(1000, 2);
            values[777] = bad;
            const DeviceTensor x(*device_, dtype, {1000}, values);
            EXPECT_FALSE(std::isfinite(ops::sum_of_squares(context_, x.view())));
            EXPECT_FALSE(std::isfinite(ops::sum(context_, x.view())));
            EXPECT_EQ(ops::statistics(context_, x.view()).non_finite, 1);
        }
    }
}

TEST_F(ReductionOnDevice, StatisticsAreThoseOfTheReference) {
    for_types_sizes_and_shifts([&](const DeviceTensor& x, HostTensor& host) {
        const ops::TensorStatistics actual = ops::statistics(context_, x.view());
        const ops::TensorStatistics expected = ops::statistics(host_, host.view());
        const double scale = static_cast<double>(x.view().size());
        EXPECT_EQ(actual.count, expected.count);
        EXPECT_EQ(actual.non_finite, expected.non_finite);
        EXPECT_NEAR(actual.sum, expected.sum, kTolerance * scale);
        EXPECT_NEAR(actual.sum_of_squares, expected.sum_of_squares, kTolerance * scale);
        EXPECT_EQ(actual.minimum, expected.minimum);
        EXPECT_EQ(actual.maximum, expected.maximum);
    });
}

TEST_F(ReductionOnDevice, StatisticsOfNothingFiniteAreZero) {
    const double nan = std::nan("");
    const DeviceTensor x(*device_, narrow(DType::float16), {3}, {nan, nan, nan});
    const ops::TensorStatistics actual = ops::statistics(context_, x.view());
    EXPECT_EQ(actual.count, 0);
    EXPECT_EQ(actual.non_finite, 3);
    EXPECT_EQ(actual.sum, 0);
    EXPECT_EQ(actual.minimum, 0);
    EXPECT_EQ(actual.maximum, 0);
}

/// The host has no tensors of 16 bits, but its checksum is one of bytes.
TEST_F(ReductionOnDevice, ChecksumIsThatOfTheReference) {
    for_types_sizes_and_shifts([&](const DeviceTensor& x, HostTensor&) {
        std::vector<std::byte> bytes = bytes_of(x);
        const std::size_t used = bytes.size();
        bytes.resize((used + 3) / 4 * 4);  // the last word is filled up with zeros
        std::vector<float> words(bytes.size() / 4);
        std::ranges::copy(bytes, std::as_writable_bytes(std::span(words)).begin());
        const TensorView view(words.data(), DType::float32, {std::ssize(words)});
        EXPECT_EQ(ops::checksum(context_, x.view()), ops::checksum(host_, view));
    });
}

TEST_F(ReductionOnDevice, ManyElementsGiveTheSameBitsInAllOrders) {
    const std::vector<double> values = random_values(kManyElements, 3);
    const DeviceTensor x(*device_, narrow(DType::bfloat16), {kManyElements}, values);
    expect_same_bits_in_all_orders([&] {
        const double sums[2] = {ops::sum(context_, x.view()),
                                ops::sum_of_squares(context_, x.view())};
        std::vector<std::byte> bits(sizeof sums);
        std::memcpy(bits.data(), sums, sizeof sums);
        return bits;
    });
    HostTensor host({kManyElements}, x.values());
    EXPECT_EQ(ops::statistics(context_, x.view()).maximum,
              ops::statistics(host_, host.view()).maximum);
    EXPECT_NEAR(ops::sum_of_squares(context_, x.view()), ops::sum_of_squares(host_, host.view()),
                1e-6);
}

TEST_F(ReductionOnDevice, StatisticsAndChecksumsHaveTheSameBitsInAllOrders) {
    const DeviceTensor x(*device_, narrow(DType::float16), {9001}, random_values(9001, 4));
    expect_same_bits_in_all_orders([&] {
        const ops::TensorStatistics found = ops::statistics(context_, x.view());
        const double sums[2] = {found.sum, found.sum_of_squares};
        const std::uint64_t checksum = ops::checksum(context_, x.view());
        std::vector<std::byte> bits(sizeof sums + sizeof checksum);
        std::memcpy(bits.data(), sums, sizeof sums);
        std::memcpy(bits.data() + sizeof sums, &checksum, sizeof checksum);
        return bits;
    });
}

}  // namespace
}  // namespace isoflop::test
