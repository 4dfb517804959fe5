// Comparisons of attention backends on the emulated GPU, which no table knows.
#include "isoflop/attention_lab/attention_comparison.hpp"

#include <gtest/gtest.h>

#include "support/gpu_fixture.hpp"

namespace isoflop::attention_lab {
namespace {

class AttentionComparisonOnGpu : public test::GpuTest {};

TEST_F(AttentionComparisonOnGpu, AnUnknownGpuHasNoPrediction) {
    device::Context context(pool_, *gpu_);
    const AttentionComparison comparison =
        compare_attention(context, {attention::self_attention(1, 9, 1, 1, 32)},
                          {.dtype = DType::float16, .repeats = 1});
    EXPECT_TRUE(comparison.passed());
    EXPECT_FALSE(comparison.shapes.front().predicted_rate);
    EXPECT_EQ(comparison.device, "emulated GPU (sm_80)");
}

}  // namespace
}  // namespace isoflop::attention_lab
