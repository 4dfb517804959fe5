// Reading a user's table: what is accepted, and that every mistake is reported at its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::hardware {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kRow = R"({
  "id": "X1", "vendor": "Acme", "plan_only": true, "aliases": ["Wonder Chip"], "compute_capability": "1.2",
  "dense_tflops": {"fp32": 10, "bf16": 100.5, "fp8": null},
  "memory_gb": 80, "usable_mib": 81000, "memory_bandwidth_gb_per_s": 3350, "tdp_watts": 700,
  "link": {"name": "Wire", "gb_per_s": 450}, "note": "fast",
  "sources": {"peaks": "a", "memory": "b", "usable_memory": "c", "link": "d", "tdp": "e"}
})";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t position = text.find(from);
    EXPECT_NE(position, std::string::npos) << from;
    return position == std::string::npos ? text : text.replace(position, from.size(), to);
}

std::string table_of(std::string_view rows) {
    return "{\"gpus\": [\n" + std::string(rows) + "\n]}";
}

/// The table with one valid row, `from` in it replaced by `to`.
std::string with(std::string_view from, std::string_view to) {
    return table_of(replaced(std::string(kRow), from, to));
}

std::string error_of(const std::string& text) {
    try {
        (void)GpuTable::from_text(text, "my.jsonc");
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "(no error)";
}

TEST(GpuTableReader, ReadsEveryField) {
    const GpuTable table = GpuTable::from_text(table_of(kRow), "my.jsonc");
    ASSERT_EQ(table.gpus().size(), 1U);
    const Gpu& gpu = table.gpus().front();

    EXPECT_EQ(gpu.id, "X1");
    EXPECT_EQ(gpu.vendor, "Acme");
    EXPECT_THAT(gpu.aliases, testing::ElementsAre("Wonder Chip"));
    EXPECT_TRUE(gpu.plan_only);
    EXPECT_EQ(gpu.compute_capability, "1.2");
    EXPECT_DOUBLE_EQ(peak_flops(gpu, DType::bfloat16), 100.5e12);
    EXPECT_FALSE(gpu.dense_peak_flops[static_cast<std::size_t>(DType::float8)]) << "null";
    EXPECT_FALSE(gpu.dense_peak_flops[static_cast<std::size_t>(DType::int8)]) << "left out";
    EXPECT_DOUBLE_EQ(gpu.memory_gb, 80);
    EXPECT_EQ(gpu.usable_memory_bytes, 81000ULL << 20U);
    EXPECT_DOUBLE_EQ(gpu.memory_bandwidth_bytes_per_s, 3350e9);
    EXPECT_EQ(gpu.link_name, "Wire");
    EXPECT_DOUBLE_EQ(gpu.link_bytes_per_s, 450e9);
    EXPECT_EQ(gpu.tdp_watts, 700);
    EXPECT_EQ(gpu.note, "fast");
    EXPECT_EQ(gpu.sources.size(), 5U);
    EXPECT_EQ(table.source_name(), "my.jsonc");
    EXPECT_EQ(table.find("ACME wonder_chip"), &gpu) << "a vendor of the table's own";
}

TEST(GpuTableReader, OptionalKeysMayBeLeftOut) {
    const GpuTable table = GpuTable::from_text(table_of(R"({
        "id": "X1", "vendor": "Acme", "dense_tflops": {"fp32": 1}, "memory_gb": 16, "tdp_watts": null,
        "memory_bandwidth_gb_per_s": 100, "link": {"name": "Wire", "gb_per_s": 1},
        "sources": {"peaks": "a", "memory": "b", "link": "c"}})"),
                                               "my.jsonc");
    const Gpu& gpu = table.gpus().front();
    EXPECT_EQ(gpu.usable_memory_bytes, 16ULL << 30U);
    EXPECT_FALSE(gpu.tdp_watts.has_value());
    EXPECT_FALSE(gpu.plan_only);
    EXPECT_EQ(gpu.note, "");
}

TEST(GpuTableReader, AcceptsASchemaReference) {
    const std::string text =
        "{\"$schema\": \"schema/gpus.schema.json\", \"gpus\": [" + std::string(kRow) + "]}";
    EXPECT_EQ(error_of(text), "(no error)");
    EXPECT_THAT(error_of(replaced(text, "\"schema/gpus.schema.json\"", "3")),
                HasSubstr("$schema must be a string, not integer"));
}

TEST(GpuTableReader, PointsAtUnknownKeysAndSuggests) {
    EXPECT_THAT(error_of(with("\"memory_gb\"", "\"memory_gib\"")),
                AllOf(HasSubstr("my.jsonc:5:3: error: unknown key 'memory_gib' in 'X1'"),
                      HasSubstr("did you mean 'memory_gb'?"), HasSubstr("^")));
    EXPECT_THAT(error_of(with("\"bf16\"", "\"bfloat16\"")), HasSubstr("unknown key 'bfloat16'"));
    EXPECT_THAT(error_of(with("\"gb_per_s\"", "\"gbps\"")),
                HasSubstr("unknown key 'gbps' in link"));
    EXPECT_THAT(error_of(with("\"peaks\"", "\"peak\"")),
                HasSubstr("unknown key 'peak' in sources; did you mean 'peaks'?"));
    EXPECT_THAT(error_of(R"({"gpu": []})"), HasSubstr("unknown key 'gpu' in the table"));
}

TEST(GpuTableReader, PointsAtMissingKeys) {
    EXPECT_THAT(error_of("{}"), HasSubstr("my.jsonc:1:1: error: the table lacks the key 'gpus'"));
    EXPECT_THAT(error_of(with("\"id\": \"X1\", ", "")), HasSubstr("row 1 lacks the key 'id'"));
    EXPECT_THAT(error_of(with("\"vendor\": \"Acme\", ", "")),
                HasSubstr("'X1' lacks the key 'vendor'"));
    EXPECT_THAT(error_of(with("\"memory_gb\": 80, ", "")), HasSubstr("lacks the key 'memory_gb'"));
    EXPECT_THAT(error_of(with("\"memory_bandwidth_gb_per_s\": 3350, ", "")),
                HasSubstr("lacks the key 'memory_bandwidth_gb_per_s'"));
    EXPECT_THAT(error_of(with(", \"gb_per_s\": 450", "")),
                HasSubstr("link lacks the key 'gb_per_s'"));
}

TEST(GpuTableReader, PointsAtWrongTypes) {
    EXPECT_THAT(error_of("[]"), HasSubstr("the table must be an object, not array"));
    EXPECT_THAT(error_of(R"({"gpus": {}})"), HasSubstr("gpus must be an array, not object"));
    EXPECT_THAT(error_of(table_of("7")), HasSubstr("my.jsonc:2:1: error: row 1 must be an object"));
    EXPECT_THAT(error_of(with("\"X1\"", "1")), HasSubstr("id must be a string, not integer"));
    EXPECT_THAT(error_of(with("[\"Wonder Chip\"]", "\"Wonder Chip\"")),
                HasSubstr("aliases must be an array of strings, not string"));
    EXPECT_THAT(error_of(with("100.5", "\"100.5\"")),
                HasSubstr("bf16 must be a number (TFLOP/s), not string"));
    EXPECT_THAT(error_of(with("81000", "81000.5")),
                HasSubstr("usable_mib must be an integer (MiB)"));
    EXPECT_THAT(error_of(with("true", "\"yes\"")),
                HasSubstr("plan_only must be true or false, not string"));
    EXPECT_THAT(error_of(with("80,", "null,")),
                HasSubstr("memory_gb must be a number (GB), not null"));
    EXPECT_THAT(error_of(with("{\"name\": \"Wire\", \"gb_per_s\": 450}", "450")),
                HasSubstr("link must be an object, not integer"));
}

TEST(GpuTableReader, RefusesFiguresThatCannotBe) {
    for (const std::string_view number : {"0", "-1", "-0.5"}) {
        EXPECT_THAT(error_of(with("100.5", number)), HasSubstr("must be a positive number"));
        EXPECT_THAT(error_of(with("80,", std::string(number) + ",")),
                    HasSubstr("memory_gb must be a positive number"));
    }
    EXPECT_THAT(error_of(with("100.5", "1e999")), HasSubstr("my.jsonc:4:")) << "not finite";
    EXPECT_THAT(error_of(with("100.5", "100.5e12")),
                HasSubstr("bf16 = 1.005e+14 is out of range: the unit is TFLOP/s"));
    EXPECT_THAT(error_of(with("450", "4.5e11")), HasSubstr("the unit is GB/s"));
    EXPECT_THAT(error_of(with("81000", "82000")),
                HasSubstr("usable_mib is more than the 80 GB of memory_gb"));
    EXPECT_THAT(error_of(with("{\"fp32\": 10, \"bf16\": 100.5, \"fp8\": null}", "{\"fp8\": null}")),
                HasSubstr("dense_tflops of 'X1' has no figure"));
    EXPECT_THAT(error_of(table_of("")), HasSubstr("gpus has no rows"));
}

TEST(GpuTableReader, RefusesEmptyAndUnusableNames) {
    EXPECT_THAT(error_of(with("\"X1\"", "\"\"")), HasSubstr("id is empty"));
    EXPECT_THAT(error_of(with("Wonder Chip", "- _")), HasSubstr("has no letters or digits"));
    EXPECT_THAT(error_of(with("Wonder Chip", std::string(200, 'x'))),
                HasSubstr("longer than 96 characters"));
}

TEST(GpuTableReader, RefusesANameUsedTwice) {
    const std::string second =
        replaced(replaced(std::string(kRow), "Wonder Chip", "Other"), "X1", "x-1");
    EXPECT_THAT(
        error_of(table_of(std::string(kRow) + ",\n" + second)),
        AllOf(HasSubstr("my.jsonc:10:9: error: 'x-1' is the same name as 'X1' of 'X1' in line 3"),
              HasSubstr("^")));
    EXPECT_THAT(error_of(with("[\"Wonder Chip\"]", "[\"acme x1\"]")),
                HasSubstr("'acme x1' is the same"));
    EXPECT_THAT(error_of(with("[\"Wonder Chip\"]", "[\"A\", \"a\"]")),
                HasSubstr("'a' is the same"));
}

TEST(GpuTableReader, AsksForASourceOfEachGivenGroup) {
    EXPECT_THAT(error_of(with("\"peaks\": \"a\", ", "")),
                HasSubstr("sources of 'X1' lacks 'peaks'"));
    EXPECT_THAT(error_of(with(", \"tdp\": \"e\"", "")), HasSubstr("lacks 'tdp'"));
    EXPECT_THAT(error_of(with("\"usable_memory\": \"c\", ", "")),
                HasSubstr("lacks 'usable_memory'"));
    EXPECT_THAT(error_of(with("\"peaks\": \"a\"", "\"peaks\": \"\"")), HasSubstr("peaks is empty"));
}

TEST(GpuTableReader, MissingFileIsAConfigError) {
    EXPECT_THROW((void)GpuTable::from_file("no/such/table.jsonc"), ConfigError);
}

}  // namespace
}  // namespace isoflop::hardware
