// The attention backend of plans and runs, decided without a device.
#include "isoflop/recipe/attention_resolution.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/plans.hpp"

namespace isoflop::recipe {
namespace {

using cost::AttentionBackend;
using ::testing::HasSubstr;

Recipe recipe_on(cost::DeviceKind device, std::vector<std::string> overrides) {
    return recipe_of(train_keys_from(overrides), {1, device});
}

AttentionResolution on_gpu(std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"arch_preset=llama", "n_layer=2", "vocab_size=100"});
    return resolve_attention(recipe_on(cost::DeviceKind::cuda, std::move(overrides)));
}

TEST(AttentionResolution, ARequestThatRunsIsKept) {
    for (const char* backend : {"flash_attn_2", "sdpa", "manual"}) {
        const AttentionResolution attention =
            on_gpu({std::string("attention_backend=") + backend, "n_embd=128", "n_head=2"});
        EXPECT_EQ(to_string(attention.used), backend);
        EXPECT_FALSE(attention.fell_back());
        EXPECT_EQ(attention.explanation(), "as requested");
        EXPECT_EQ(fallback_warning(attention), "");
    }
}

TEST(AttentionResolution, ARequestThatCannotRunFallsBackWithTheReason) {
    const AttentionResolution attention =
        on_gpu({"attention_backend=sdpa", "n_embd=160", "n_head=2"});
    EXPECT_EQ(attention.used, AttentionBackend::manual);
    EXPECT_EQ(fallback_warning(attention),
              "attention runs with manual instead of sdpa (sdpa: head_dim 80 is none of 32, 64, "
              "96, 128, 256)");
    EXPECT_EQ(attention.explanation(),
              "requested sdpa: sdpa: head_dim 80 is none of 32, 64, 96, 128, 256");
}

TEST(AttentionResolution, AutoFallsBackByTheTable) {
    const AttentionResolution attention =
        on_gpu({"dtype=float32", "n_embd=128", "n_head=2", "disable_backends=sdpa"});
    EXPECT_EQ(attention.used, AttentionBackend::manual);
    EXPECT_FALSE(attention.fell_back());
    EXPECT_EQ(attention.reason,
              "table: flash_attn_2 first on a GPU; flash_attn_2: CUDA kernels are for bfloat16 "
              "and float16, not fp32; sdpa: disabled");
}

// The rule of a plan and that of the training config that says the same plan.
TEST(AttentionResolution, OfPlansAndOfRunsAgree) {
    for (const test::NamedModel& named : test::all_models()) {
        for (const DType dtype : {DType::bfloat16, DType::float16, DType::float32, DType::tf32}) {
            for (const auto backend : {AttentionBackend::flash_attn_2, AttentionBackend::sdpa,
                                       AttentionBackend::manual}) {
                cost::Execution execution;
                execution.sequence_length = 32;
                execution.dtype = dtype;
                execution.attention_backend = backend;
                if (!obstacle_to_training(named.config, execution).empty()) continue;
                const AttentionResolution planned = resolve_attention(named.config, execution);
                const TrainKeys keys =
                    train_keys_of(named.config, execution,
                                  {.optimizer = &cost::kAdamW, .steps = 1, .learning_rate = 1e-3});
                const AttentionResolution run =
                    resolve_attention(recipe_of(keys, {1, cost::DeviceKind::cuda}));
                EXPECT_EQ(planned.requested, run.requested) << named.name;
                EXPECT_EQ(planned.used, run.used) << named.name;
                EXPECT_EQ(planned.reason, run.reason) << named.name;
            }
        }
    }
}

TEST(AttentionResolution, ATypeWithoutKernelsKeepsTheRequest) {
    cost::Execution execution;
    execution.sequence_length = 128;
    execution.dtype = DType::float64;
    const AttentionResolution attention =
        resolve_attention(test::synthetic_model("multi_head").config, execution);
    EXPECT_EQ(attention.used, AttentionBackend::flash_attn_2);
}

}  // namespace
}  // namespace isoflop::recipe
