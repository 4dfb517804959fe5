// The emulated device itself: memory, copies, products.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "isoflop/base/half_precision.hpp"
#include "support/emulated/emulated_device.hpp"

namespace isoflop::emulated {
namespace {

using device::DeviceBuffer;
using testing::ElementsAre;

TEST(EmulatedDevice, MemoryIsZeroAndCounted) {
    EmulatedDevice device;
    const std::uint64_t before = device.memory_use().used_bytes;
    {
        const DeviceBuffer buffer(device, 16);
        EXPECT_EQ(device.memory_use().used_bytes - before, 16U);
        std::vector<std::int32_t> values(4, -1);
        device.copy_out(values.data(), buffer.data(), 16);
        EXPECT_THAT(values, ElementsAre(0, 0, 0, 0));
    }
    EXPECT_EQ(device.memory_use().used_bytes, before);
}

TEST(EmulatedDevice, ProductIsRoundedOnceAndBatched) {
    EmulatedDevice device;
    const auto bits = [](float value) { return float_to_bfloat16(value); };
    // Two products of a row by a column: 1*3 + 2*4, and 5*3 + 6*4 with the same b.
    const std::vector<std::uint16_t> a{bits(1), bits(2), bits(5), bits(6)};
    const std::vector<std::uint16_t> b{bits(3), bits(4)};
    std::vector<std::uint16_t> c(2, bits(100));
    device::DeviceGemm product;
    product.shape = {.transpose_b = device::Transpose::yes,
                     .m = 1,
                     .n = 1,
                     .k = 2,
                     .lda = 2,
                     .ldb = 2,
                     .ldc = 1};
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
    product.beta = 1;
    product.count = 2;
    product.stride_a = 2;
    product.stride_c = 1;
    device::ThreadPool pool(1);
    device.gemm(pool, product);
    EXPECT_THAT(c, ElementsAre(bits(111), bits(139)));
}

TEST(EmulatedDevice, DeferredValuesAreTheirOwn) {
    EmulatedDevice device;
    double* const first = device.next_result();
    double* const second = device.next_result();
    *first = 1.5;
    *second = 2.5;
    EXPECT_EQ(device::DeferredValue(device, first).get(), 1.5);
    EXPECT_EQ(device::DeferredValue(device, second).get(), 2.5);
    EXPECT_EQ(device::DeferredValue(3.5).get(), 3.5);
}

}  // namespace
}  // namespace isoflop::emulated
