#include "isoflop/text/usage_message.hpp"

#include <gtest/gtest.h>

namespace isoflop::text {
namespace {

TEST(UsageMessage, NamesTheNearestOption) {
    EXPECT_EQ(
        usage_message("The following argument was not expected: --max_itres=3",
                      {"max_iters", "seed"}),
        "The following argument was not expected: --max_itres=3; did you mean '--max_iters'?");
}

TEST(UsageMessage, KnowsAnOptionOfASectionByItsLastPart) {
    EXPECT_EQ(usage_message("--num_gpu is unknown", {"training_gear.num_gpus"}),
              "--num_gpu is unknown; did you mean '--num_gpus'?");
}

TEST(UsageMessage, LeavesOtherMessagesAsTheyAre) {
    EXPECT_EQ(usage_message("A subcommand is required", {"seed"}), "A subcommand is required");
    EXPECT_EQ(usage_message("--entirely_different is unknown", {"seed"}),
              "--entirely_different is unknown");
}

}  // namespace
}  // namespace isoflop::text
