// The JSONC reader: what it accepts, and the values and locations that come out. What it refuses is
// in jsonc_error_test.cpp and in the files of malformed/.
#include "isoflop/config/jsonc.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace isoflop::config {
namespace {

Value parse(const std::string& text) {
    return parse_jsonc(text, "test.jsonc").root;
}

TEST(JsoncReader, ReadsEveryType) {
    const Value root = parse(R"({"n": null, "t": true, "f": false, "i": -7, "d": 0.5, "s": "x",
                                 "a": [1, [2, []]], "o": {"k": {}}})");
    ASSERT_TRUE(root.is_object());
    EXPECT_EQ(root.as_object().size(), 8U);
    EXPECT_TRUE(root.find("n")->is_null());
    EXPECT_TRUE(root.find("t")->as_bool());
    EXPECT_FALSE(root.find("f")->as_bool());
    EXPECT_EQ(root.find("i")->as_integer(), -7);
    EXPECT_EQ(root.find("d")->as_number(), 0.5);
    EXPECT_EQ(root.find("s")->as_string(), "x");
    EXPECT_EQ(root.find("a")->as_array()[1].as_array()[0].as_integer(), 2);
    EXPECT_TRUE(root.find("o")->find("k")->as_object().empty());
}

TEST(JsoncReader, AcceptsAnyValueAsRoot) {
    EXPECT_TRUE(parse("null").is_null());
    EXPECT_EQ(parse(" 12 ").as_integer(), 12);
    EXPECT_EQ(parse("\"x\"").as_string(), "x");
    EXPECT_TRUE(parse("[]").as_array().empty());
}

TEST(JsoncReader, KeepsMembersInFileOrder) {
    const Value root = parse(R"({"b": 1, "a": 2, "c": 3})");
    EXPECT_EQ(root.as_object()[0].key, "b");
    EXPECT_EQ(root.as_object()[1].key, "a");
    EXPECT_EQ(root.as_object()[2].key, "c");
}

TEST(JsoncReader, SkipsComments) {
    EXPECT_EQ(parse("// one\n/* two\n * three */ 1 // four").as_integer(), 1);
    EXPECT_EQ(parse("/* http:// */ 1").as_integer(), 1);
    EXPECT_EQ(parse("/**/1/***/").as_integer(), 1);
    EXPECT_EQ(parse("1 // /* not opened").as_integer(), 1);
    EXPECT_EQ(parse("[1/*,2*/,3]").to_text(), "[1,3]");
    EXPECT_EQ(parse("{/*a*/\"k\"/*b*/:/*c*/1/*d*/,/*e*/}").to_text(), R"({"k":1})");
}

TEST(JsoncReader, LeavesCommentMarksInStringsAlone) {
    const Value root =
        parse(R"({"url": "http://x", "language": "C#", "no": "/* no */", "//": "# // /*"})");
    EXPECT_EQ(root.find("url")->as_string(), "http://x");
    EXPECT_EQ(root.find("language")->as_string(), "C#");
    EXPECT_EQ(root.find("no")->as_string(), "/* no */");
    EXPECT_EQ(root.find("//")->as_string(), "# // /*");
}

TEST(JsoncReader, EndsLineCommentsAtEveryKindOfLineBreak) {
    EXPECT_EQ(parse("// a\n1").as_integer(), 1);
    EXPECT_EQ(parse("// a\r\n1").as_integer(), 1);
    EXPECT_EQ(parse("// a\r1").as_integer(), 1);
}

TEST(JsoncReader, AcceptsTrailingCommas) {
    EXPECT_EQ(parse("[1, 2, ]").to_text(), "[1,2]");
    EXPECT_EQ(parse("{\"a\": 1, // last\n}").to_text(), R"({"a":1})");
}

TEST(JsoncReader, SkipsAByteOrderMark) {
    const Document document = parse_jsonc("\xEF\xBB\xBF{\"a\": 1}", "test.jsonc");
    EXPECT_EQ(document.root.find("a")->as_integer(), 1);
    EXPECT_EQ(document.root.location().column, 1U);
}

TEST(JsoncReader, DecodesEscapes) {
    EXPECT_EQ(parse(R"("\" \\ \/ \b \f \n \r \t")").as_string(), "\" \\ / \b \f \n \r \t");
    EXPECT_EQ(parse(R"("\u0041\u00e9\u20AC")").as_string(), "A\xC3\xA9\xE2\x82\xAC");
    EXPECT_EQ(parse(R"("\uD83D\uDE00\uDBFF\uDFFF")").as_string(),
              "\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF");
    EXPECT_EQ(parse(R"("a\u0000b")").as_string(), std::string("a\0b", 3));
    EXPECT_EQ(parse(R"("\uD7FF\uE000\uFFFF")").as_string(), "\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF");
}

TEST(JsoncReader, KeepsUtf8Text) {
    EXPECT_EQ(parse("\"Z\xC3\xBCrich \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80\"").as_string(),
              "Z\xC3\xBCrich \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80");
}

TEST(JsoncNumbers, KeepIntegersExactWithinInt64) {
    EXPECT_EQ(parse("9223372036854775807").as_integer(), std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(parse("-9223372036854775808").as_integer(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(parse("9007199254740993").as_integer(), 9007199254740993);  // 2^53 + 1
}

TEST(JsoncNumbers, BecomeDoublesBeyondInt64) {
    for (const char* text : {"9223372036854775808", "-9223372036854775809"}) {
        const Value value = parse(text);
        EXPECT_FALSE(value.is_integer());
        EXPECT_EQ(std::abs(value.as_number()), 9223372036854775808.0);
    }
}

TEST(JsoncNumbers, AreDoublesWhenWrittenWithPointOrExponent) {
    for (const char* text : {"1e12", "1E12", "1e+12", "1000000000000.0", "10.0e11"}) {
        const Value value = parse(text);
        EXPECT_FALSE(value.is_integer()) << text;
        EXPECT_TRUE(value.is_number()) << text;
        EXPECT_EQ(value.as_number(), 1e12) << text;
    }
}

TEST(JsoncNumbers, AcceptZeroInEveryForm) {
    EXPECT_EQ(parse("0").as_integer(), 0);
    EXPECT_EQ(parse("-0").as_integer(), 0);
    EXPECT_TRUE(std::signbit(parse("-0.0").as_number()));
    EXPECT_EQ(parse("0e99999").as_number(), 0.0);
    EXPECT_EQ(parse("0.0e-99999").as_number(), 0.0);
}

TEST(JsoncNumbers, ReachTheLimitsOfDouble) {
    EXPECT_EQ(parse("1.7976931348623157e308").as_number(), std::numeric_limits<double>::max());
    EXPECT_EQ(parse("2.2250738585072014e-308").as_number(), std::numeric_limits<double>::min());
    EXPECT_EQ(parse("5e-324").as_number(), std::numeric_limits<double>::denorm_min());
}

TEST(JsoncNumbers, GiveIntegersAsNumbersToo) {
    EXPECT_EQ(parse("3").as_number(), 3.0);
}

TEST(JsoncLocations, AreOneBasedAndCountCodePoints) {
    const Value root = parse("{\n  \"\xC3\xA4\xE6\x97\xA5\": [1,\n\t\"\xF0\x9F\x98\x80\", 2]}");
    const Member& member = root.as_object().front();
    EXPECT_EQ(root.location().line, 1U);
    EXPECT_EQ(root.location().column, 1U);
    EXPECT_EQ(member.key_location.line, 2U);
    EXPECT_EQ(member.key_location.column, 3U);
    EXPECT_EQ(member.value.location().column, 9U);
    EXPECT_EQ(member.value.as_array()[1].location().line, 3U);
    EXPECT_EQ(member.value.as_array()[1].location().column, 2U);
    EXPECT_EQ(member.value.as_array()[2].location().column, 7U);
}

TEST(JsoncLocations, CountEveryKindOfLineBreakOnce) {
    const Value root = parse("[1,\r\n2,\r3,\n\n4]");
    EXPECT_EQ(root.as_array()[1].location().line, 2U);
    EXPECT_EQ(root.as_array()[2].location().line, 3U);
    EXPECT_EQ(root.as_array()[3].location().line, 5U);
    for (const Value& element : root.as_array()) EXPECT_LE(element.location().column, 2U);
}

TEST(JsoncValue, NamesItsType) {
    EXPECT_EQ(parse("null").type_name(), "null");
    EXPECT_EQ(parse("true").type_name(), "boolean");
    EXPECT_EQ(parse("1").type_name(), "integer");
    EXPECT_EQ(parse("1.0").type_name(), "number");
    EXPECT_EQ(parse("\"\"").type_name(), "string");
    EXPECT_EQ(parse("[]").type_name(), "array");
    EXPECT_EQ(parse("{}").type_name(), "object");
}

TEST(JsoncValue, PrintsCompactJson) {
    const std::string text =
        R"({"a":[1,2.5,3.0,-0.0,1e+300,"x\"\\\n\u0001"],"b":{},"c":[],"d":null,"e":true})";
    EXPECT_EQ(parse(text).to_text(), text);
}

TEST(JsoncValue, FindsMembersOnlyInObjects) {
    EXPECT_EQ(parse("{\"a\": 1}").find("b"), nullptr);
    EXPECT_EQ(parse("[1]").find("a"), nullptr);
    EXPECT_EQ(Value().find("a"), nullptr);
}

TEST(JsoncValue, ThrowsWhenReadAsAnotherType) {
    EXPECT_THROW((void)parse("1").as_string(), std::bad_variant_access);
    EXPECT_THROW((void)parse("1.5").as_integer(), std::bad_variant_access);
    EXPECT_THROW((void)parse("\"1\"").as_number(), std::bad_variant_access);
}

TEST(JsoncReader, AllowsNestingUpToTheLimit) {
    const std::string text = std::string(64, '[') + std::string(64, ']');
    EXPECT_EQ(parse(text).to_text(), text);
    EXPECT_TRUE(parse_jsonc("1", "test.jsonc", {.max_depth = 0}).root.is_integer());

    const std::string deepest = std::string(512, '[') + std::string(512, ']');
    EXPECT_EQ(parse_jsonc(deepest, "test.jsonc", {.max_depth = 512}).root.to_text(), deepest);
}

// With a cost per value that grows with the file, these take minutes instead of milliseconds.
TEST(JsoncReader, NeedsLinearTimeForOneHugeLine) {
    std::string text = "[";
    for (int count = 0; count < 300'000; ++count) text += "\"\xC3\xA4\",";
    EXPECT_EQ(parse(text + "]").as_array().size(), 300'000U);
}

TEST(JsoncReader, NeedsLinearTimeForManyKeysAndLines) {
    std::string text = "{";
    for (int count = 0; count < 100'000; ++count) {
        text.append("\"").append(std::to_string(count)).append("\": 1,\n");
    }
    const Value root = parse(text + "}");
    EXPECT_EQ(root.as_object().back().key_location.line, 100'000U);
}

}  // namespace
}  // namespace isoflop::config
