// The first page of help, and the arguments that ask for it.
#include "isoflop/text/help_page.hpp"

#include <gtest/gtest.h>

namespace isoflop::text {
namespace {

TEST(HelpPage, HasUsageOptionsAndExamples) {
    const HelpPage page{.usage = "tool FILE",
                        .about = "Does it.",
                        .commands = {},
                        .options = {{"--set KEY=VALUE", "Overrides a key"}, {"--json", "JSON"}},
                        .examples = {"tool a.jsonc"},
                        .more = "All options: tool --help-all"};
    EXPECT_EQ(help_text(page, 80),
              "Usage: tool FILE\n"
              "Does it.\n"
              "\n"
              "Options:\n"
              "  --set KEY=VALUE  Overrides a key\n"
              "  --json           JSON\n"
              "\n"
              "Examples:\n"
              "  tool a.jsonc\n"
              "\n"
              "All options: tool --help-all\n");
}

TEST(HelpPage, IsAskedForByItsOptions) {
    EXPECT_EQ(help_of({"model", "--help"}), Help::page);
    EXPECT_EQ(help_of({"-h"}), Help::page);
    EXPECT_EQ(help_of({"--help", "--help-all"}), Help::all);
    EXPECT_EQ(help_of({"model", "--helpful"}), Help::none);
    EXPECT_EQ(help_of({}), Help::none);
}

}  // namespace
}  // namespace isoflop::text
