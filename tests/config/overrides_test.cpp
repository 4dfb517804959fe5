// Overrides on the command line.
#include "isoflop/config/overrides.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/base/error.hpp"
#include "isoflop/config/schema.hpp"

namespace isoflop::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> rewritten(const std::vector<std::string>& arguments) {
    return rewrite_overrides(
        arguments, [](std::string_view key) { return key == "gear.num_gpus" || key == "n_layer"; });
}

TEST(Overrides, WithEqualsBecomeSet) {
    EXPECT_THAT(rewritten({"backward", "--n_layer=4", "x.jsonc"}),
                ElementsAre("backward", "--set", "n_layer=4", "x.jsonc"));
}

TEST(Overrides, WithASpaceBecomeSet) {
    EXPECT_THAT(rewritten({"--gear.num_gpus", "16", "x.jsonc"}),
                ElementsAre("--set", "gear.num_gpus=16", "x.jsonc"));
}

TEST(Overrides, ValuesMayBeginWithDashesOrHoldEquals) {
    EXPECT_THAT(rewritten({"--n_layer", "-4"}), ElementsAre("--set", "n_layer=-4"));
    EXPECT_THAT(rewritten({"--n_layer=a=b"}), ElementsAre("--set", "n_layer=a=b"));
    EXPECT_THAT(rewritten({"--n_layer="}), ElementsAre("--set", "n_layer="));
}

TEST(Overrides, OtherArgumentsAreKept) {
    const std::vector<std::string> arguments{"backward", "--json", "--set",       "n_layer=3",
                                             "-x",       "--",     "--n_layer=4", "n_layer=4"};
    EXPECT_EQ(rewritten(arguments), arguments);
    EXPECT_THAT(rewritten({}), IsEmpty());
    EXPECT_THAT(rewritten({"--", "--n_layer"}), ElementsAre("--", "--n_layer"));
}

TEST(Overrides, WithoutAValueAreRefused) {
    try {
        (void)rewritten({"backward", "--n_layer"});
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("--n_layer needs a value"));
    }
}

TEST(Assignment, IsSplitAtTheFirstEquals) {
    EXPECT_EQ(split_assignment("a=b"), (std::pair<std::string, std::string>{"a", "b"}));
    EXPECT_EQ(split_assignment("a=b=c"), (std::pair<std::string, std::string>{"a", "b=c"}));
    EXPECT_EQ(split_assignment("a="), (std::pair<std::string, std::string>{"a", ""}));
    EXPECT_THROW((void)split_assignment("a"), ConfigError);
    EXPECT_THROW((void)split_assignment("=b"), ConfigError);
    EXPECT_THROW((void)split_assignment(""), ConfigError);
}

}  // namespace
}  // namespace isoflop::config
