#include "isoflop/text/svg.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isoflop::text::svg {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

TEST(SvgText, MarkupIsWrittenAsEntities) {
    EXPECT_EQ(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
}

TEST(SvgAxis, LinearAxisMapsTheMiddleToTheMiddle) {
    const Axis axis({2.0, 4.0}, {300, 100}, Scale::linear);
    EXPECT_DOUBLE_EQ(axis.at(2), 300);
    EXPECT_DOUBLE_EQ(axis.at(3), 200);
    EXPECT_DOUBLE_EQ(axis.at(4), 100);
}

TEST(SvgAxis, LogarithmicAxisMapsTheGeometricMeanToTheMiddle) {
    const Axis axis({1e6, 1e10}, {0, 100}, Scale::logarithmic);
    EXPECT_NEAR(axis.at(1e8), 50, 1e-9);
}

TEST(SvgAxis, RangeOfOneValueLiesInTheMiddle) {
    EXPECT_DOUBLE_EQ(Axis({5, 5}, {0, 100}, Scale::linear).at(5), 50);
}

TEST(SvgTicks, LinearTicksEncloseTheRangeAtRoundValues) {
    EXPECT_THAT(linear_ticks(2.13, 2.29),
                Pointwise(DoubleNear(1e-12), {2.10, 2.15, 2.20, 2.25, 2.30}));
    EXPECT_THAT(linear_ticks(0, 11), ElementsAre(0, 2, 4, 6, 8, 10, 12));
}

TEST(SvgTicks, LogTicksEncloseTheRangeAndThinOutOverManyDecades) {
    EXPECT_THAT(log_ticks(0.3, 8), Pointwise(DoubleNear(1e-12), {0.2, 0.5, 1.0, 2.0, 5.0, 10.0}));
    EXPECT_THAT(log_ticks(2, 30000),
                Pointwise(DoubleNear(1e-9), {1.0, 10.0, 100.0, 1e3, 1e4, 1e5}));
}

}  // namespace
}  // namespace isoflop::text::svg
