// The probe of attention_backend=auto on a GPU.
#include "isoflop/attention_lab/attention_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "support/gpu_fixture.hpp"
#include "support/train_runs.hpp"

namespace isoflop::attention_lab {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AttentionChoiceOnGpu : public test::GpuTest {};

TEST_F(AttentionChoiceOnGpu, AutoMeasuresWhereBitsAreNotPromised) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                         ("isoflop_attention_probe_" + std::to_string(getpid()));
    const recipe::Recipe config =
        test::config_of(test::tiny_run({"device=cuda", "dtype=bfloat16", "head_dim=32", "n_head=1",
                                        "out_dir=" + folder.string()}));
    device::Context context(pool_, *gpu_);
    const auto decide = [&] {
        return decide_attention(config, context, {}, [](cost::AttentionBackend) { return true; });
    };
    const AttentionDecision first = decide();
    EXPECT_THAT(first.reason, StartsWith("measured: "));
    EXPECT_THAT(first.reason, HasSubstr("flash_attn_2"));
    const AttentionDecision second = decide();
    EXPECT_EQ(second.used, first.used);
    EXPECT_EQ(second.reason, first.reason + " (cached)");
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace isoflop::attention_lab
