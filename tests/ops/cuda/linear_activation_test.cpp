// Which products a GPU computes together with an activation.
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

class LinearActivationOnGpu : public DeviceOp {};

TEST_F(LinearActivationOnGpu, OnlyProductsWithWholePacksAreFused) {
    const auto can = [&](std::int64_t columns, device::Epilogue epilogue) {
        const DeviceTensor a(*device_, DType::bfloat16, {4, 8});
        const DeviceTensor b(*device_, DType::bfloat16, {8, columns});
        const DeviceTensor c(*device_, DType::bfloat16, {4, columns});
        const DeviceTensor input(*device_, DType::bfloat16, {4, columns});
        return device_->try_gemm(
            pool_,
            {.shape = {.m = 4, .n = columns, .k = 8, .lda = 8, .ldb = columns, .ldc = columns},
             .a = a.view().data(),
             .b = b.view().data(),
             .c = c.view().data(),
             .epilogue = epilogue,
             .gelu_input = input.view().data()});
    };
    EXPECT_FALSE(can(33, device::Epilogue::gelu_gradient));
    EXPECT_TRUE(can(33, device::Epilogue::none));
}

}  // namespace
}  // namespace isoflop::test
