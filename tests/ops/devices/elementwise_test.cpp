// add, scale, fill and copy: one rounding of the exact result each, so the bits are known.
#include <cmath>

#include "isoflop/ops/reduction.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

constexpr std::array<std::int64_t, 7> kSizes{0, 1, 7, 31, 33, 256, 4099};
constexpr std::int64_t kManyElements = 1'000'003;

class ElementwiseOnDevice : public DeviceOp {
protected:
    /// The values that a tensor of the type has after rounding.
    std::vector<double> rounded(DType dtype, const std::vector<double>& values) {
        return DeviceTensor(*device_, dtype, {std::ssize(values)}, values).values();
    }

    template <class Check>
    void for_types_sizes_and_shifts(const Check& check) {
        for (const DType dtype : storage_types()) {
            for (const std::int64_t size : kSizes) {
                for (const std::int64_t shift : {0, 1}) {
                    SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(size) +
                                 " elements, shifted by " + std::to_string(shift));
                    check(dtype, size, shift);
                }
            }
        }
    }
};

TEST_F(ElementwiseOnDevice, AddRoundsTheSum) {
    for_types_sizes_and_shifts([&](DType dtype, std::int64_t size, std::int64_t shift) {
        const DeviceTensor x(*device_, dtype, {size}, random_values(size, 1), shift);
        const DeviceTensor y(*device_, dtype, {size}, random_values(size, 2));
        const DeviceTensor out(*device_, dtype, {size}, {}, shift);
        ops::add(context_, x.view(), y.view(), out.view());
        std::vector<double> sums = x.values();
        const std::vector<double> others = y.values();
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += others[i];
        EXPECT_EQ(out.values(), rounded(dtype, sums));
    });
}

TEST_F(ElementwiseOnDevice, ScaleRoundsTheProduct) {
    for_types_sizes_and_shifts([&](DType dtype, std::int64_t size, std::int64_t shift) {
        const DeviceTensor x(*device_, dtype, {size}, random_values(size, 3), shift);
        std::vector<double> products = x.values();
        for (double& value : products) value *= 0.3125;
        ops::scale(context_, 0.3125, x.view());
        EXPECT_EQ(x.values(), rounded(dtype, products));
    });
}

TEST_F(ElementwiseOnDevice, FillReachesEveryElement) {
    for_types_sizes_and_shifts([&](DType dtype, std::int64_t size, std::int64_t shift) {
        const DeviceTensor x(*device_, dtype, {size}, {}, shift);
        ops::fill(context_, -2.5, x.view());
        EXPECT_EQ(x.values(), std::vector<double>(static_cast<std::size_t>(size), -2.5));
    });
}

TEST_F(ElementwiseOnDevice, ThreadsGoOnWhereThereAreMorePacksThanThreads) {
    constexpr std::int64_t kSize = 4 * 2048 * 256 + 5;
    const DeviceTensor x(*device_, DType::float32, {kSize});
    ops::fill(context_, 7, x.view());
    EXPECT_EQ(x.values(), std::vector<double>(static_cast<std::size_t>(kSize), 7));
}

TEST_F(ElementwiseOnDevice, CopyRoundsToTheOtherType) {
    for_types_sizes_and_shifts([&](DType from_type, std::int64_t size, std::int64_t shift) {
        for (const DType to_type : storage_types()) {
            const DeviceTensor from(*device_, from_type, {size}, random_values(size, 4), shift);
            const DeviceTensor to(*device_, to_type, {size});
            ops::copy(context_, from.view(), to.view());
            EXPECT_EQ(to.values(), rounded(to_type, from.values()));
        }
    });
}

TEST_F(ElementwiseOnDevice, InfinityAndNanArePassedOn) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    for (const DType dtype : storage_types()) {
        const DeviceTensor from(*device_, DType::float32, {3}, {-kInfinity, std::nan(""), 1e30});
        const DeviceTensor to(*device_, dtype, {3});
        ops::copy(context_, from.view(), to.view());
        EXPECT_EQ(to.values()[0], -kInfinity);
        EXPECT_TRUE(std::isnan(to.values()[1]));
        EXPECT_EQ(std::isinf(to.values()[2]), dtype == DType::float16);
    }
}

TEST_F(ElementwiseOnDevice, ManyElementsHaveTheSameBitsInAllOrders) {
    const std::vector<double> values = random_values(kManyElements, 5);
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor x(*device_, dtype, {kManyElements}, values);
        expect_same_bits_in_all_orders([&] {
            const DeviceTensor out(*device_, dtype, {kManyElements});
            ops::add(context_, x.view(), x.view(), out.view());
            ops::scale(context_, 0.5, out.view());  // doubled and halved: the same again
            EXPECT_EQ(out.values(), x.values());
            return bytes_of(out);
        });
    }
    // One element at a time, more than there are threads.
    const DeviceTensor x(*device_, DType::float32, {kManyElements}, values, 1);
    const std::vector<double> expected = rounded(narrow(DType::bfloat16), values);
    expect_same_bits_in_all_orders([&] {
        const DeviceTensor out(*device_, narrow(DType::bfloat16), {kManyElements});
        ops::copy(context_, x.view(), out.view());
        EXPECT_EQ(out.values(), expected);
        return bytes_of(out);
    });
}

}  // namespace
}  // namespace isoflop::test
