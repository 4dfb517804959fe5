// manual_head_chunk saves memory and changes nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

std::vector<float> weights_after(TestRun& run, std::int64_t iterations) {
    for (std::int64_t i = 0; i < iterations; ++i) (void)run.iterate(i);
    std::vector<float> all;
    for (const checkpoint::NamedTensor& tensor : run.session.weight_tensors()) {
        const std::span<float> values = tensor.data.as<float>();
        all.insert(all.end(), values.begin(), values.end());
    }
    return all;
}

TEST(HeadChunks, HaveTheBitsOfAllHeadsTogether) {
    const Overrides base =
        tiny_run({"arch_preset=llama", "attention_backend=manual", "n_kv_head=2"});
    TestRun whole(base);
    const std::vector<float> expected = weights_after(whole, 2);
    for (const char* chunk : {"1", "2", "3", "4", "100"}) {
        Overrides chunked = base;
        chunked.push_back(std::string("manual_head_chunk=") + chunk);
        TestRun run(chunked);
        EXPECT_EQ(weights_after(run, 2), expected) << chunk;
    }
}

TEST(HeadChunks, TakeMemoryForTheirHeadsOnly) {
    // 4 heads, 2 of each group, 2 sequences of 16: 4 bytes for each score.
    const auto bytes = [](const char* chunk) {
        const recipe::RunPlan plan =
            plan_of(tiny_run({"arch_preset=llama", "attention_backend=manual", "n_kv_head=2",
                              std::string("manual_head_chunk=") + chunk}));
        return plan.memory.find(cost::BufferId::grad_attention_scores)->bytes();
    };
    EXPECT_EQ(bytes("0"), 2U * 4 * 16 * 16 * 4);
    EXPECT_EQ(bytes("1"), 2U * 16 * 16 * 4);
    EXPECT_EQ(bytes("3"), 4U * 16 * 16 * 4);
    EXPECT_EQ(bytes("100"), 4U * 16 * 16 * 4);
}

}  // namespace
}  // namespace isoflop::trainer
