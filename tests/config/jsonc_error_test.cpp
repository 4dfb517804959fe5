// What the JSONC reader refuses, and what its messages say: file, line, column, the line and a
// caret.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"
#include "source_dir.hpp"

namespace isoflop::config {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// The message with which a text is refused; "accepted" when it is not.
std::string message_for(const std::string& text, JsoncLimits limits = {}) {
    try {
        (void)parse_jsonc(text, "test.jsonc", limits);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

// --- The malformed files -----------------------------------------------------------------------

std::vector<std::filesystem::path> malformed_files() {
    std::vector<std::filesystem::path> files;
    const std::filesystem::path folder =
        std::filesystem::path(ISOFLOP_SOURCE_DIR) / "tests" / "config" / "malformed";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".jsonc") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

class MalformedFile : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(MalformedFile, IsRefusedWithItsPlace) {
    std::string message = "accepted";
    try {
        (void)read_jsonc_file(GetParam());
    } catch (const ConfigError& error) {
        message = error.what();
    }
    static const std::regex kPlace(R"(\.jsonc:[1-9][0-9]*:[1-9][0-9]*: error: [^\n]+\n)");
    static const std::regex kCaretLine(R"(\n +\| +\^$)");
    EXPECT_THAT(message, StartsWith(GetParam().string()));
    EXPECT_TRUE(std::regex_search(message, kPlace)) << message;
    EXPECT_TRUE(std::regex_search(message, kCaretLine)) << message;
    // Neither raw control characters nor a whole file may reach the terminal.
    const bool printable = std::none_of(message.begin(), message.end(), [](char letter) {
        const auto byte = static_cast<unsigned char>(letter);
        return (byte < 0x20U && letter != '\n') || byte == 0x7FU;
    });
    EXPECT_TRUE(printable) << message;
    EXPECT_LT(message.size(), GetParam().string().size() + 700);
}

INSTANTIATE_TEST_SUITE_P(Files, MalformedFile, ::testing::ValuesIn(malformed_files()),
                         [](const auto& test) { return test.param.stem().string(); });

TEST(MalformedFiles, AreMany) {
    EXPECT_GE(malformed_files().size(), 60U);
}

// --- Places and words of the messages ----------------------------------------------------------

struct ErrorCase {
    std::string text;
    std::string place;  ///< "line:column"
    std::string words;  ///< part of the message
};

TEST(JsoncErrors, PointAtTheCauseAndNameIt) {
    const std::vector<ErrorCase> cases{
        {"", "1:1", "no value"},
        {"{\n  \"a\": 1 # x\n}", "2:10", "'#' starts no comment"},
        {"{\n  \"a\": 1\n  \"b\": 2\n}", "2:9", "a comma is missing"},
        {"{\"a\" 1}", "1:5", "expected ':' after the key \"a\""},
        {"{\"a\": }", "1:7", "a value is missing"},
        {"{\"a\": [1,\n2", "1:7", "this array is never closed; ']' is missing"},
        {"{\"a\": {", "1:7", "this object is never closed; '}' is missing"},
        {"[1, 2}", "1:6", "expected ',' or ']' in this array, found '}'"},
        {"{} {}", "1:4", "unexpected text after the end"},
        {"{\"a\": 1,\n \"b\": 2,\n \"a\": 3}", "3:2",
         "duplicate key \"a\", already given in line 1"},
        {"{num_gpus: 8}", "1:2", "a key needs double quotes: \"num_gpus\""},
        {"['x']", "1:2", "straight double quotes"},
        {"[1, \"abc]", "1:5", "not closed on its line"},
        {"/* x", "1:1", "never closed"},
        {"[\"C:\\data\"]", "1:5", "invalid escape"},
        {"[\"\xC3\xA4\\uD800\"]", "1:4", "high surrogate must be followed"},
        {"[\"\\uDC00\"]", "1:3", "low surrogate must follow"},
        {"[\"a\tb\"]", "1:4", "\\t"},
        {"[\"\xC3\xA4\xFF\"]", "1:4", "byte 0xFF is not valid UTF-8"},
        {"[True]", "1:2", "did you mean 'true'?"},
        {"[None]", "1:2", "did you mean 'null'?"},
        {"[NaN]", "1:2", "NaN is not a JSON number"},
        {"[0x10]", "1:2", "hexadecimal"},
        {"[012]", "1:2", "leading zeros"},
        {"[-Infinity]", "1:3", "a digit must follow the minus sign"},
        {"[+1]", "1:2", "no leading '+'"},
        {"[.5]", "1:2", "digit before its decimal point"},
        {"[5.]", "1:4", "a digit must follow"},
        {"[1e]", "1:4", "exponent has no digits"},
        {"[80GB]", "1:4", "unexpected 'G' after a number"},
        {"[1_000]", "1:3", "no '_'"},
        {"[1e999]", "1:2", "1e999 is outside the range"},
        {"[1e-999]", "1:2", "1e-999 is outside the range"},
        {"[\xC2\xA0"
         "1]",
         "1:2", "U+00A0"},
    };
    for (const ErrorCase& error_case : cases) {
        const std::string message = message_for(error_case.text);
        EXPECT_THAT(message, StartsWith("test.jsonc:" + error_case.place + ": error: "))
            << error_case.text;
        EXPECT_THAT(message, HasSubstr(error_case.words)) << error_case.text;
    }
}

TEST(JsoncErrors, HaveTheExitCodeOfBadConfiguration) {
    try {
        (void)parse_jsonc("{", "test.jsonc");
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::usage);
    }
}

TEST(JsoncErrors, ShowTheLineAndACaret) {
    EXPECT_EQ(message_for("{\n  \"num_gpus\": eight,\n}"),
              "test.jsonc:2:15: error: 'eight' is not a JSON value (text needs double quotes)\n"
              "  2 |   \"num_gpus\": eight,\n"
              "    |               ^");
}

TEST(JsoncErrors, DoNotRepeatHugeTokens) {
    EXPECT_LT(message_for(std::string(1'000'000, 'x')).size(), 400U);
    EXPECT_LT(message_for(std::string(1'000'000, '9')).size(), 400U);
    EXPECT_LT(message_for("{\"" + std::string(1'000'000, 'k') + "\" 1}").size(), 400U);
}

TEST(JsoncErrors, RefuseEveryBeginningOfAFile) {
    const std::string text =
        "{ // c\n \"k\\u00e4\": [1.5e3, -2, \"\xF0\x9F\x98\x80\\uD83D\\uDE00\", /* x */ null, "
        "true]}";
    for (std::size_t length = 0; length < text.size(); ++length) {
        EXPECT_NE(message_for(text.substr(0, length)), "accepted") << length;
    }
    EXPECT_EQ(message_for(text), "accepted");
}

// --- Limits ------------------------------------------------------------------------------------

TEST(JsoncLimits, RefuseDeepNestingWithoutExhaustingTheStack) {
    for (const char* opening : {"[", "{\"a\":", "[{\"a\":"}) {
        std::string text;
        for (int level = 0; level < 200'000; ++level) text += opening;
        EXPECT_THAT(message_for(text), HasSubstr("nested deeper than 64 levels"));
        EXPECT_THAT(message_for(text, {.max_depth = 10'000'000}),
                    HasSubstr("nested deeper than 512 levels"));
    }
}

TEST(JsoncLimits, RefuseLongTextBeforeParsing) {
    EXPECT_EQ(message_for("[1, 2, 3]", {.max_bytes = 8}),
              "test.jsonc: error: the text has 9 bytes; the limit is 8");
    EXPECT_EQ(message_for("[1, 2, 3]", {.max_bytes = 9}), "accepted");
}

// --- Document::describe ------------------------------------------------------------------------

Document document_of(std::string text) {
    return {.file_name = "x.jsonc", .text = std::move(text), .root = {}};
}

/// Column of the caret minus the column where the excerpt starts.
std::size_t caret_indent(const std::string& message) {
    const std::string last_line = message.substr(message.rfind('\n') + 1);
    return last_line.find('^') - last_line.find("| ") - 2;
}

TEST(DocumentDescribe, WithoutALineNamesOnlyTheFile) {
    EXPECT_EQ(document_of("1").describe({}, "is bad"), "x.jsonc: error: is bad");
}

TEST(DocumentDescribe, AlignsTheCaretUnderWideLineNumbers) {
    EXPECT_EQ(document_of(std::string(99, '\n') + "ab").describe({100, 2}, "bad"),
              "x.jsonc:100:2: error: bad\n"
              "  100 | ab\n"
              "      |  ^");
}

TEST(DocumentDescribe, WidensTabsInTheExcerpt) {
    EXPECT_EQ(document_of("\ta\tb").describe({1, 4}, "bad"),
              "x.jsonc:1:4: error: bad\n"
              "  1 |     a    b\n"
              "    |          ^");
}

TEST(DocumentDescribe, AlignsTheCaretUnderMultiByteText) {
    // Two narrow code points, then a combining accent, a wide character and an emoji.
    EXPECT_EQ(caret_indent(document_of("\xC3\xA4\xC3\xB6x").describe({1, 3}, "bad")), 2U);
    EXPECT_EQ(caret_indent(document_of("a\xCC\x81x").describe({1, 3}, "bad")), 1U);
    EXPECT_EQ(caret_indent(document_of("\xE6\x97\xA5\xF0\x9F\x98\x80x").describe({1, 3}, "bad")),
              4U);
}

TEST(DocumentDescribe, CutsLongLinesAroundTheColumn) {
    const std::string line = std::string(500, 'a') + "X" + std::string(500, 'b');
    const std::string message = document_of(line).describe({1, 501}, "bad");
    EXPECT_THAT(message, HasSubstr("1 | ...aaa"));
    EXPECT_THAT(message, HasSubstr("aXb"));
    EXPECT_THAT(message, HasSubstr("bbb...\n"));
    EXPECT_LT(message.size(), 300U);
    EXPECT_EQ(caret_indent(message), 3U + 60U);
}

TEST(DocumentDescribe, ShowsTheBeginningOfALongLineUncut) {
    const std::string message = document_of(std::string(500, 'a')).describe({1, 5}, "bad");
    EXPECT_THAT(message, HasSubstr("1 | aaa"));
    EXPECT_EQ(caret_indent(message), 4U);
}

TEST(DocumentDescribe, CutsMultiByteLinesBetweenCodePoints) {
    std::string line;
    for (int count = 0; count < 300; ++count) line += "\xE2\x82\xAC";
    const std::string message = document_of(line).describe({1, 150}, "bad");
    EXPECT_THAT(message, HasSubstr("1 | ...\xE2\x82\xAC"));
    EXPECT_THAT(message, HasSubstr("\xE2\x82\xAC...\n"));
    EXPECT_EQ(caret_indent(message), 63U);
}

TEST(DocumentDescribe, PointsBehindTheEndOfALine) {
    EXPECT_THAT(document_of("abc\n").describe({1, 4}, "bad"), EndsWith("|    ^"));
    EXPECT_THAT(document_of("abc\n").describe({1, 99}, "bad"), EndsWith("|    ^"));
    EXPECT_THAT(document_of("abc\n").describe({2, 1}, "bad"), EndsWith("2 | \n    | ^"));
}

TEST(DocumentDescribe, OmitsALineThatDoesNotExist) {
    EXPECT_EQ(document_of("abc").describe({7, 1}, "bad"), "x.jsonc:7:1: error: bad");
}

TEST(DocumentDescribe, LeavesCarriageReturnsOut) {
    EXPECT_EQ(document_of("a\r\nb\rc").describe({2, 1}, "bad"),
              "x.jsonc:2:1: error: bad\n  2 | b\n    | ^");
    EXPECT_EQ(document_of("a\r\nb\rc").describe({3, 1}, "bad"),
              "x.jsonc:3:1: error: bad\n  3 | c\n    | ^");
}

TEST(DocumentDescribe, ReplacesWhatATerminalWouldObey) {
    const std::string message = document_of(
                                    "\x1B[31m \xC2\x9B"
                                    "1m \xE2\x80\xAE \xFF x")
                                    .describe({1, 1}, "bad");
    EXPECT_THAT(message, Not(HasSubstr("\x1B")));
    EXPECT_THAT(message, HasSubstr("\xEF\xBF\xBD[31m \xEF\xBF\xBD"
                                   "1m \xEF\xBF\xBD \xEF\xBF\xBD x"));
}

}  // namespace
}  // namespace isoflop::config
