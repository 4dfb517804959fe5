// Messages are divided between words, and never in what is copied whole.
#include "isoflop/text/message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/text/fit.hpp"
#include "report/report_test_support.hpp"

namespace isoflop::text {
namespace {

using report::lines_of;
using ::testing::ElementsAre;

TEST(WrappedMessage, LeavesWhatFits) {
    EXPECT_EQ(wrapped_message("warning: one\n  two\n", 80), "warning: one\n  two\n");
    EXPECT_EQ(wrapped_message("", 80), "");
}

TEST(WrappedMessage, DividesBetweenWordsAndIndentsWhatFollows) {
    EXPECT_THAT(lines_of(wrapped_message("warning: the first words of a message that is too long "
                                         "for a line of a terminal",
                                         40)),
                ElementsAre("warning: the first words of a message",
                            "  that is too long for a line of a", "  terminal"));
    EXPECT_THAT(
        lines_of(
            wrapped_message("short\n  an indented line that is longer than forty columns", 40)),
        ElementsAre("short", "  an indented line that is longer than", "    forty columns"));
}

TEST(WrappedMessage, KeepsEveryWord) {
    const std::string message =
        "error: use --csv FILE, --json or `scaling-plan model a file`; it's \"a b\" and 'c d' (\"e "
        "f\")";
    for (std::size_t width = 40; width < 100; ++width) {
        std::string joined;
        for (const std::string& line : lines_of(wrapped_message(message, width))) {
            EXPECT_LE(display_width(line), width);
            joined += (joined.empty() ? "" : " ") + line.substr(line.find_first_not_of(' '));
        }
        EXPECT_EQ(joined, message) << width;
    }
}

TEST(WrappedMessage, NeverDividesWhatIsCopied) {
    const std::string command =
        "scaling-plan sweep --over num_gpus=8,16,32 configs/plan/auto.jsonc";
    for (const std::string& whole :
         {"Example: " + command, "`" + command + "`", "\"" + command + "\"", "'" + command + "'",
          std::string("--emit-train-config FILE")}) {
        const std::string wrapped =
            wrapped_message("a message with some words before " + whole + "; and after", 60);
        const std::string part = whole.starts_with("Example: ") ? command : whole;
        EXPECT_NE(wrapped.find(part), std::string::npos) << wrapped;
    }
    const std::string place =
        "a folder with spaces in its name/and a file of a long name.jsonc:3:4: error:";
    EXPECT_EQ(lines_of(wrapped_message(place + " the message", 40)).front(), place);
}

TEST(WrappedMessage, LinesOfAFileStay) {
    const std::string shown =
        "  4 |   \"num_gpus\": \"eight\", // and a comment that goes on and on";
    EXPECT_EQ(wrapped_message(shown + "\n    |               ^", 40),
              shown + "\n    |               ^");
}

}  // namespace
}  // namespace isoflop::text
