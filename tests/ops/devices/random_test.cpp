// Normal deviates: those of the host, whichever part of a tensor is filled.
#include "isoflop/ops/random.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

constexpr std::uint64_t kSeed = 0x1234'5678'9ABC'DEF0U;
constexpr std::uint64_t kStream = 0x0F0F'0000'0000'0007U;

class RandomOnDevice : public DeviceOp {};

TEST_F(RandomOnDevice, NormalDeviatesAreThoseOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t size : {0, 1, 7, 31, 33, 4099}) {
            for (const std::int64_t first : {0, 1, 6, 1'000'003}) {
                for (const std::int64_t shift : {0, 2, 3}) {
                    SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(size) +
                                 " from " + std::to_string(first));
                    const DeviceTensor x(*device_, dtype, {size}, {}, shift);
                    ops::fill_normal(context_, 0.02, kSeed, kStream, first, x.view());
                    std::vector<float> host(static_cast<std::size_t>(size));
                    ops::fill_normal(host_, 0.02, kSeed, kStream, first,
                                     TensorView::of(std::span(host), {size}));
                    EXPECT_LE(relative_error(x.values(), {host.begin(), host.end()}),
                              rounding_tolerance(dtype));
                }
            }
        }
    }
}

TEST_F(RandomOnDevice, EveryDeviateIsNearTheHosts) {
    const std::int64_t size = 1'000'003;
    const DeviceTensor x(*device_, DType::float32, {size});
    ops::fill_normal(context_, 1, kSeed, kStream, 0, x.view());
    std::vector<float> host(static_cast<std::size_t>(size));
    ops::fill_normal(host_, 1, kSeed, kStream, 0, TensorView::of(std::span(host), {size}));
    const std::vector<double> values = x.values();
    for (std::size_t i = 0; i < host.size(); ++i) {
        // A few units in the last place of the radius, which is below 7.
        ASSERT_NEAR(values[i], host[i], 2e-6) << i;
    }
}

TEST_F(RandomOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        expect_same_bits_in_all_orders([&] {
            const DeviceTensor x(*device_, dtype, {1003});
            ops::fill_normal(context_, 1, kSeed, kStream, 5, x.view());
            return bytes_of(x);
        });
    }
}

}  // namespace
}  // namespace isoflop::test
