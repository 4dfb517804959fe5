#include "isoflop/device/context.hpp"

#include <gtest/gtest.h>

namespace isoflop::device {
namespace {

TEST(ProductRecorder, AddsUpProductsOfOneNameAndPass) {
    ProductRecorder recorder;
    ThreadPool pool(1);
    Context context(pool);
    context.record("ffn.up_proj", cost::Pass::forward, 1);  // no recorder: nothing happens
    context.recorder = &recorder;
    context.record("ffn.up_proj", cost::Pass::forward, 10);
    context.record("ffn.up_proj", cost::Pass::backward, 20);
    context.record("ffn.up_proj", cost::Pass::forward, 5);
    ASSERT_EQ(recorder.entries().size(), 2U);
    EXPECT_EQ(recorder.entries()[0].multiply_adds, 15U);
    EXPECT_EQ(recorder.entries()[1].pass, cost::Pass::backward);
    EXPECT_EQ(recorder.total_flops(), 70U);
    recorder.clear();
    EXPECT_EQ(recorder.total_flops(), 0U);
}

TEST(ProductRecorder, TellsCountedFromPlannedProducts) {
    using Source = ProductRecorder::Source;
    ProductRecorder recorder;
    recorder.add("q_proj", cost::Pass::forward, 100);
    recorder.add("scores", cost::Pass::forward, 10, Source::planned);
    recorder.add("values", cost::Pass::forward, 5);
    recorder.add("values", cost::Pass::forward, 5, Source::planned);
    EXPECT_EQ(recorder.total_flops(), 240U);
    EXPECT_EQ(recorder.flops_as_planned(), 40U);
}

TEST(Workspace, GrowsAndIsReused) {
    Workspace workspace;
    EXPECT_EQ(workspace.get<float>(100).size(), 100U);
    const std::size_t bytes = workspace.bytes();
    EXPECT_GE(bytes, 400U);
    static_cast<void>(workspace.get<float>(50));
    EXPECT_EQ(workspace.bytes(), bytes);
}

}  // namespace
}  // namespace isoflop::device
