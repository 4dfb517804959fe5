// Dropout on a GPU has the masks of the CPU.
#include "isoflop/ops/dropout.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

constexpr ops::DropoutKey kKey{.seed = 0x123456789ABCDEF,
                               .step = (1ULL << 32U) + 12,
                               .first_sequence = 0xFFFFFFFF,
                               .layer = 3,
                               .site = ops::DropoutSite::ffn_branch};
constexpr double kProbability = 0.3;

class DropoutOnDevice : public DeviceOp {
protected:
    void check(DType dtype, std::int64_t sequences, std::int64_t length, std::int64_t width,
               std::int64_t shift) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(sequences) +
                     " sequences of " + std::to_string(length) + " rows of " +
                     std::to_string(width) + ", shifted by " + std::to_string(shift));
        const std::int64_t rows = sequences * length;
        const DeviceTensor x(*device_, dtype, {rows, width}, random_values(rows * width, 1), shift);
        HostTensor host({rows, width}, x.values());
        ops::dropout(context_, kKey, kProbability, length, x.view());
        ops::dropout(host_, kKey, kProbability, length, host.view());
        const std::vector<double> actual = x.values();
        for (std::size_t i = 0; i < actual.size(); ++i)
            ASSERT_EQ(actual[i] == 0, host.values()[i] == 0) << "element " << i;
        expect_close(x, host.values());
    }
};

TEST_F(DropoutOnDevice, MaskIsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t width : {1, 7, 31, 33, 64, 1000}) check(dtype, 3, 5, width, 0);
        check(dtype, 2, 3, 64, 1);
        check(dtype, 0, 3, 64, 0);
        check(dtype, 1, 1, 8 * 256 + 8, 0);
    }
}

TEST_F(DropoutOnDevice, DroppedNanIsZero) {
    const DeviceTensor x(*device_, narrow(DType::bfloat16), {1, 64});  // poison
    ops::dropout(context_, kKey, kProbability, 1, x.view());
    const std::vector<double> values = x.values();
    EXPECT_GT(std::count(values.begin(), values.end(), 0.0), 5);
}

TEST_F(DropoutOnDevice, ManyElementsHaveTheSameBitsInAllOrders) {
    constexpr std::int64_t kManyElements = 1'000'003;
    const std::vector<double> values = random_values(kManyElements, 2);
    expect_same_bits_in_all_orders([&] {
        const DeviceTensor odd(*device_, narrow(DType::bfloat16), {1, kManyElements}, values);
        const DeviceTensor even(*device_, narrow(DType::float16), {1000, 1000},
                                {values.begin(), values.end() - 3});
        ops::dropout(context_, kKey, kProbability, 1, odd.view());
        ops::dropout(context_, kKey, kProbability, 10, even.view());
        return bytes_of(odd, even);
    });
}

}  // namespace
}  // namespace isoflop::test
