// The entrance for JSON of others: what nlohmann reads, less what is dangerous or ambiguous.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::config {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

std::string fault_of(const std::string& text) {
    try {
        (void)parse_json(text);
    } catch (const JsonFault& fault) {
        return fault.what();
    }
    return "none";
}

std::string nested(std::size_t levels, char open, char close) {
    std::string text;
    for (std::size_t level = 0; level < levels; ++level)
        text += open == '{' ? "{\"a\":" : std::string(1, open);
    if (open == '{') text += "1";
    return text + std::string(levels, close);
}

TEST(Json, ReadsWhatNlohmannReads) {
    for (const char* text :
         {"null", "true", "-3", "18446744073709551615", "2.5e-3", R"("\u00e9\n")", "[]", "{}",
          R"({"b":[1,{"c":null},[],"x"],"a":{"z":1,"y":{"x":[true,false]}}})", "\xEF\xBB\xBF[1]"}) {
        EXPECT_EQ(parse_json(text), ordered_json::parse(text)) << text;
    }
    EXPECT_EQ(parse_json(R"({"b":1,"a":2})").dump(), R"({"b":1,"a":2})") << "the order is kept";
}

TEST(Json, NestsSoDeepAndNoDeeper) {
    for (const auto& [open, close] : {std::pair('[', ']'), std::pair('{', '}')}) {
        EXPECT_EQ(fault_of(nested(kDeepestJson, open, close)), "none");
        EXPECT_THAT(fault_of(nested(kDeepestJson + 1, open, close)), HasSubstr("nested deeper"));
        EXPECT_THAT(fault_of(nested(105'000, open, close)), HasSubstr("nested deeper"));
    }
    EXPECT_THAT(fault_of(std::string(105'000, '[')), HasSubstr("nested deeper"));
}

/// An ordered object is searched for every key that it gets: 11 billion comparisons for so many.
TEST(Json, ManyKeysAreReadInTimeProportionalToThem) {
    std::string text = "{";
    for (int key = 0; key < 150'000; ++key) text += "\"key" + std::to_string(key) + "\":0,";
    text.back() = '}';
    EXPECT_EQ(parse_json(text).size(), 150'000U);
    text.insert(text.size() - 1, ",\"key7\":1");
    EXPECT_THAT(fault_of(text), HasSubstr("'key7' twice"));
}

TEST(Json, RefusesWhatIsAmbiguousOrNoJson) {
    EXPECT_THAT(fault_of(R"({"a":1,"b":{"c":1,"d":2,"c":3}})"), HasSubstr("'c' twice"));
    for (const char* text :
         {"", "{", "[1,]", "nul", "{\"a\" 1}", "1 2", "\"\xFF\"", "NaN", "// c\n1", "\"\x01\""}) {
        EXPECT_THAT(fault_of(text), HasSubstr("line 1, column")) << text;
        EXPECT_FALSE(try_parse_json(text)) << text;
    }
    EXPECT_THAT(fault_of("[1e999]"), HasSubstr("number overflow"));
}

TEST(Json, RecordsOfAStreamNeedNotBeKept) {
    std::istringstream text(
        R"({"name":"x","a":[{"n":1},{"n":{"m":2}},7],"b":[{"n":3}],"c":{"d":[{"n":4}]}})");
    std::string seen;
    const ordered_json document =
        parse_json_stream(text, [&](std::string_view list, const ordered_json& record) {
            seen += std::string(list) + record.dump();
            return list != "b";
        });
    EXPECT_EQ(seen, R"(a{"n":1}a{"n":{"m":2}}b{"n":3})");
    EXPECT_EQ(document.dump(), R"({"name":"x","a":[7],"b":[{"n":3}],"c":{"d":[{"n":4}]}})");
    std::istringstream cut(R"({"a":[{"n":1},)");
    EXPECT_THROW((void)parse_json_stream(cut, [](auto, const auto&) { return true; }), JsonFault);
}

TEST(Json, AFaultIsShortHoweverLongTheText) {
    EXPECT_LT(fault_of("\"" + std::string(100'000, 'x')).size(), 200U);
    const std::string key(100'000, 'k');
    EXPECT_LT(fault_of("{\"" + key + "\":1,\"" + key + "\":2}").size(), 200U);
}

TEST(Json, AFaultNamesTheFile) {
    const auto path = std::filesystem::temp_directory_path() / "isoflop_json_test.json";
    std::ofstream(path) << "{\"a\":";
    try {
        (void)read_json_file(path, 100);
        ADD_FAILURE() << "must be refused";
    } catch (const IoError& error) {
        EXPECT_THAT(error.what(), HasSubstr("isoflop_json_test.json' is damaged: parse error"));
        EXPECT_EQ(error.exit_code(), ExitCode::io);
    }
    std::ofstream(path) << "{\"a\":1}";
    EXPECT_EQ(read_json_file(path, 100).at("a"), 1);
    EXPECT_THROW((void)read_json_file(path, 3), IoError) << "too large";
    std::filesystem::remove(path);
}

TEST(Json, MembersOfAnotherTypeNameTheFile) {
    const ordered_json object = parse_json(R"({"text":"x","low":-1,"high":1e300,"n":7})");
    EXPECT_EQ(count_at(object, "n", "f.json"), 7);
    for (const char* key : {"text", "low", "high", "absent"}) {
        try {
            (void)count_at(object, key, "f.json");
            ADD_FAILURE() << key;
        } catch (const IoError& error) {
            EXPECT_THAT(error.what(), HasSubstr("'f.json' is damaged"));
            EXPECT_THAT(error.what(), HasSubstr(key));
        }
    }
    EXPECT_THROW((void)count_at(parse_json("[]"), "n", "f.json"), IoError);
    EXPECT_EQ(read_members("f.json", [&] { return object.at("n").get<int>(); }), 7);
    EXPECT_THROW(read_members("f.json", [&] { (void)object.at("text").get<int>(); }), IoError);
    EXPECT_THROW(read_members("f.json", [&] { (void)object.at("absent"); }), IoError);
    EXPECT_THROW(read_members("f.json", [] { throw ConfigError("mine"); }), ConfigError);
}

}  // namespace
}  // namespace isoflop::config
