// What cuDNN asks for beside tensors, against what cuDNN 9.19 answered for compiled plans, and
// where the memory plan has room for it.
#include "isoflop/cost/attention_workspace.hpp"

#include <gtest/gtest.h>

#include "isoflop/cost/memory_plan.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::cost {
namespace {

constexpr AttentionSize size_of(std::int64_t batch, std::int64_t kv_heads, std::int64_t length,
                                std::int64_t head_dim) {
    return {batch, 32, kv_heads, length, length, head_dim};
}

struct Answer {
    AttentionSize size;
    bool deterministic;
    std::uint64_t bytes;  ///< the largest of capability 8.0, 9.0, 10.0 and 12.0
};
constexpr Answer kAnswers[] = {
    {size_of(1, 32, 1024, 64), false, 8'388'736},
    {size_of(1, 32, 1024, 64), true, 67'109'120},
    {size_of(1, 8, 1024, 64), false, 16'777'344},
    {size_of(1, 8, 1024, 64), true, 75'497'728},
    {size_of(1, 32, 1024, 128), false, 16'777'344},
    {size_of(1, 32, 1024, 128), true, 67'109'120},
    {size_of(1, 8, 1024, 128), false, 33'554'560},
    {size_of(1, 8, 1024, 128), true, 83'886'336},
    {size_of(2, 8, 1024, 128), true, 167'772'416},
    {size_of(2, 8, 2048, 128), false, 134'217'856},
    // Lengths that are no whole tiles: queries in 8 for d_q; in scores queries in 64, keys in 128.
    {{4, 16, 16, 1000, 1000, 64}, false, 16'384'128},
    {{4, 16, 16, 1000, 1000, 64}, true, 134'217'984},
    {{1, 4, 2, 129, 129, 128}, false, 542'848},
    {{1, 4, 2, 129, 129, 128}, true, 657'664},
    {{1, 4, 2, 65, 200, 64}, false, 278'656},
    {{1, 4, 2, 65, 200, 64}, true, 467'200},
    {{1, 4, 2, 200, 65, 64}, false, 271'488},
    {{2, 4, 2, 17, 17, 64}, false, 84'096},
    {{2, 4, 2, 17, 17, 64}, true, 166'144},
    {{1, 4, 2, 100, 100, 72}, false, 235'136},
    {{1, 4, 2, 100, 100, 72}, true, 246'528},
};

TEST(AttentionWorkspace, HoldsWhatCudnnAnswered) {
    for (const Answer& answer : kAnswers) {
        const std::uint64_t planned = cudnn_workspace_bytes(answer.size, answer.deterministic);
        EXPECT_GE(planned, answer.bytes);
        EXPECT_LE(planned, answer.bytes + 512);
    }
}

TEST(AttentionWorkspace, IsNotForScoreGradientsOverTheLimit) {
    EXPECT_EQ(score_gradient_bytes(size_of(1, 32, 2048, 128)), kMostScoreGradientBytes);
    EXPECT_GT(cudnn_workspace_bytes(size_of(1, 32, 2048, 128), true), kMostScoreGradientBytes);
    EXPECT_EQ(cudnn_workspace_bytes(size_of(1, 32, 2049, 128), true), 0U);
    EXPECT_GT(cudnn_workspace_bytes(size_of(1, 32, 2049, 128), false), 0U);
}

TEST(AttentionWorkspace, IsPlannedForSdpaOnAGpuIn16Bits) {
    const model::ModelConfig config =
        model::read_model_file(test::source_path("configs/models/gpt2_1558m.jsonc")).config;
    const auto layout = model::parameter_layout(config);
    Execution execution;
    execution.sequence_length = 96;
    execution.micro_batch_size = 3;
    const auto planned = [&] {
        const MemoryPlan plan = memory_plan(config, layout, execution, kAdamW);
        const Buffer* const buffer = plan.find(BufferId::grad_attention_workspace);
        return buffer == nullptr ? 0 : buffer->bytes();
    };
    execution.attention_backend = AttentionBackend::sdpa;
    const std::uint64_t scores = 2 * 3 * 25 * 128 * 128;
    EXPECT_GE(planned(), scores);
    EXPECT_LE(planned(), scores + 1024);
    execution.deterministic = false;
    EXPECT_GE(planned(), std::uint64_t{4} * 3 * 25 * 96 * 64);
    EXPECT_NE(
        memory_plan(config, layout, execution, kAdamW).find(BufferId::grad_attention_q_accumulator),
        nullptr);
    execution.dtype = DType::float32;
    EXPECT_EQ(planned(), 0U);
    execution.dtype = DType::bfloat16;
    execution.attention_backend = AttentionBackend::flash_attn_2;
    EXPECT_EQ(planned(), 0U);
    execution.attention_backend = AttentionBackend::sdpa;
    execution.device = DeviceKind::cpu;
    EXPECT_EQ(planned(), 0U);
}

}  // namespace
}  // namespace isoflop::cost
