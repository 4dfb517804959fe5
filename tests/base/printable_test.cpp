#include "isoflop/base/printable.hpp"

#include <gtest/gtest.h>

namespace isoflop {
namespace {

TEST(Printable, MessagesKeepTheirLinesAndEscapeTabsAndZeroBytes) {
    EXPECT_EQ(printable_message(std::string_view("a\nb\tc\0d", 7)), "a\nb\\tc\\x00d");
}

TEST(Printable, TextStaysAsItIs) {
    for (const char* text : {"", "H100 SXM", "out/run_1: 3 %", "Grüße, 你好, \U0001F600", "\\x1b",
                             "\u00A0 no break", "\U0010FFFF", "\uD7FF\uE000"}) {
        EXPECT_EQ(printable(text), text);
        EXPECT_EQ(printable_lines(text), text);
    }
}

TEST(Printable, ControlCharactersAreEscaped) {
    EXPECT_EQ(printable("\x1b]0;title\x07\x1b[2J"), "\\x1b]0;title\\x07\\x1b[2J");
    EXPECT_EQ(printable(std::string_view("a\0b\x7f", 4)), "a\\x00b\\x7f");
    EXPECT_EQ(printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
    EXPECT_EQ(printable("\u0080\u009b31m\u009f\u00a0"), "\\u0080\\u009b31m\\u009f\u00a0");
}

TEST(Printable, BytesThatAreNoUtf8AreEscaped) {
    EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
    EXPECT_EQ(printable("\x9b"), "\\x9b") << "a C1 control in Latin-1";
    EXPECT_EQ(printable("a\xc3"), "a\\xc3") << "cut short";
    EXPECT_EQ(printable("\xc3("), "\\xc3(");
    EXPECT_EQ(printable("\xc0\x9b"), "\\xc0\\x9b") << "an overlong ESC";
    EXPECT_EQ(printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
    EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "above U+10FFFF";
}

TEST(Printable, JsonStaysTheSameJson) {
    EXPECT_EQ(printable_json("{\n  \"a\": \"\\u001b \x7f \u009b \u00fc\"\n}"),
              "{\n  \"a\": \"\\u001b \\u007f \\u009b \u00fc\"\n}");
}

TEST(Printable, LinesKeepTheirEnds) {
    EXPECT_EQ(printable_lines("a\n\tb\r\n\x1b[1m"), "a\n\tb\\r\n\\x1b[1m");
}

}  // namespace
}  // namespace isoflop
