// Rotary embedding reads its table from the memory of the GPU.
#include "isoflop/ops/rope.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

class RopeOnGpu : public DeviceOp {};

TEST_F(RopeOnGpu, TableWithoutCopyIsRefused) {
    model::ModelConfig config;
    config.num_attention_heads = 1;
    config.num_key_value_heads = 1;
    config.head_dim = 32;
    config.hidden_size = 32;
    config.rope_theta = 10000;
    const ops::RopeTable table(config, 16);
    const DeviceTensor packed(*device_, DType::float32, {2, 32}, random_values(64, 3));
    EXPECT_THROW(
        ops::rope_forward(context_, table, {.heads = 1, .head_dim = 32, .sequence_length = 11},
                          packed.view()),
        std::logic_error);
}

}  // namespace
}  // namespace isoflop::test
