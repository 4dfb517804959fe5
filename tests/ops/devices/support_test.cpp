// What the tests of the ops rely on.
#include "ops/devices/support.hpp"

#include <gtest/gtest-spi.h>

#include <algorithm>
#include <cmath>

namespace isoflop::test {
namespace {

class SupportOnDevice : public DeviceOp {};

TEST_F(SupportOnDevice, TensorsHoldRoundedValuesOrNan) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t shift : {0, 1}) {
            const DeviceTensor written(*device_, dtype, {1, 3}, {1, -2.5, 1.0001}, shift);
            const std::vector<double> values = written.values();
            EXPECT_EQ(values[0], 1);
            EXPECT_EQ(values[1], -2.5);
            EXPECT_NEAR(values[2], 1.0001, rounding_tolerance(dtype));
            EXPECT_EQ(bytes_of(written).size(), 3 * size_in_bytes(dtype));
            const auto place = reinterpret_cast<std::uintptr_t>(written.view().data());
            EXPECT_EQ(place % 16, static_cast<std::uint64_t>(shift) * size_in_bytes(dtype));
            const DeviceTensor unwritten(*device_, dtype, {2}, {}, shift);
            EXPECT_TRUE(std::isnan(unwritten.values()[0]) && std::isnan(unwritten.values()[1]));
        }
    }
}

TEST_F(SupportOnDevice, BytesBesideATensorAreWatched) {
    const DType dtype = narrow(DType::bfloat16);
    const auto end = static_cast<std::ptrdiff_t>(3 * size_in_bytes(dtype));
    for (const std::ptrdiff_t place : {std::ptrdiff_t{-2}, std::ptrdiff_t{-1}, end, end + 1}) {
        EXPECT_NONFATAL_FAILURE(
            {
                const DeviceTensor tensor(*device_, dtype, {3}, {1, 2, 3}, 1);
                device_->fill_zero(static_cast<std::byte*>(tensor.view().data()) + place, 1);
            },
            "outside a tensor");
    }
}

TEST_F(SupportOnDevice, BitsThatChangeAreFound) {
    std::vector<std::byte> bits(1);
    const auto changing = [&] {
        bits[0] = std::byte(std::to_integer<int>(bits[0]) < 2 ? 2 : 3);  // from the second run on
        return bits;
    };
    ::testing::TestPartResultArray failures;
    {
        const ::testing::ScopedFakeTestPartResultReporter reporter(
            ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
        expect_same_bits_in_all_orders(changing);
    }
    EXPECT_GE(failures.size(), 2);
}

}  // namespace
}  // namespace isoflop::test
