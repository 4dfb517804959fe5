// How a GPU's embedding divides its scratch memory.
#include "isoflop/ops/embedding.hpp"
#include "ops/devices/support.hpp"
#include "ops/embedding_cuda.hpp"

namespace isoflop::test {
namespace {

using ops::testing::random_tokens;

class EmbeddingOnGpu : public DeviceOp {};

TEST_F(EmbeddingOnGpu, LargeBatchesAreSummedInPartsOfLongWindows) {
    // 64 KiB hold the keys of 1024 tokens, and windows of 256 keys of 1000 columns.
    constexpr std::int64_t kScratch = 64 << 10;
    constexpr std::int64_t kRows = 2500;
    std::vector<std::int32_t> tokens = random_tokens(kRows, 30, 6);
    std::fill(tokens.begin() + 100, tokens.begin() + 1100, 3);
    const DeviceTokens on_device(*device_, tokens);
    for (const std::int64_t columns : {33, 1000}) {
        const DeviceTensor d_out(*device_, DType::float32, {kRows, columns},
                                 random_values(kRows * columns, 1, 0.5));
        const DeviceTensor d_table(*device_, DType::float32, {30, columns},
                                   random_values(30 * columns, 2));
        HostTensor host_d_out({kRows, columns}, d_out.values());
        HostTensor host_d_table({30, columns}, d_table.values());
        ops::cuda::embedding_backward_within(context_, kScratch, on_device.view(), d_out.view(), 50,
                                             d_table.view(), {});
        ops::embedding_backward(host_, tokens, host_d_out.view(), 50, host_d_table.view(), {});
        EXPECT_LE(relative_error(d_table.values(), host_d_table.doubles()), 1e-6);
        std::vector<std::byte> others(3 * kScratch);
        device_->copy_out(others.data(), device_->scratch() + kScratch, others.size());
        EXPECT_EQ(std::ranges::count(others, kPoison), std::ssize(others));
    }
}

}  // namespace
}  // namespace isoflop::test
