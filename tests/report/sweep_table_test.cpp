// Rows of a sweep as text and as JSON.
#include <gtest/gtest.h>

#include "isoflop/report/list_report.hpp"
#include "report/report_test_support.hpp"

namespace isoflop::report {
namespace {

TEST(SweepTable, ColumnsFitTheirWidestValue) {
    const std::vector<planner::SweepAxis> axes{{"num_gpus", {"8", "16"}}, {"x", {"123456789"}}};
    const SweepTable table(axes);
    std::string out = table.header();
    planner::SweepRow row;
    row.value_indices = {1, 0};
    row.n_params = 6.89e9;
    row.n_tokens = 213e9;
    row.compute_flops = 9.23e21;
    row.predicted_loss = 2.15;
    row.optimal_n_params = 8.68e9;
    row.optimal_loss = 2.12;
    row.memory_bytes = 3ULL << 30U;
    row.fits = true;
    table.append_row(out, row);
    const auto lines = lines_of(out);
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].find("fits"), lines[1].find("yes"));
    EXPECT_EQ(lines[1].substr(0, 21), "      16  123456789  ");
    EXPECT_NE(lines[1].find("9.23e+21"), std::string::npos);

    std::string json;
    table.append_json(json, row);
    const auto parsed = nlohmann::ordered_json::parse(json);
    EXPECT_EQ(parsed["values"]["num_gpus"], "16");
    EXPECT_EQ(parsed["values"]["x"], "123456789");
    EXPECT_EQ(parsed["n_tokens"].get<double>(), 213e9);
    EXPECT_EQ(parsed["memory_bytes"].get<std::uint64_t>(), 3ULL << 30U);
    EXPECT_EQ(parsed["fits"], true);
}

TEST(SweepTable, PointsThatCannotBePlannedSayWhy) {
    const std::vector<planner::SweepAxis> axes{{"num_gpus", {"8"}}};
    planner::SweepRow row;
    row.value_indices = {0};
    row.refusal = "a.jsonc:1:2: error: too many\n  1 | ...";
    std::string out;
    SweepTable(axes).append_row(out, row);
    EXPECT_EQ(out, "       8  cannot be planned: a.jsonc:1:2: error: too many\n");
    std::string json;
    SweepTable(axes).append_json(json, row);
    const auto parsed = nlohmann::ordered_json::parse(json);
    EXPECT_EQ(parsed["refusal"], row.refusal);
    EXPECT_FALSE(parsed.contains("fits"));
}

// JSON is UTF-8 for every argument of a shell.
TEST(SweepTable, ReplacesBytesThatAreNoUtf8) {
    const std::vector<planner::SweepAxis> axes{{"gpu_type", {"H\xff"}}};
    planner::SweepRow row;
    row.value_indices = {0};
    std::string json;
    SweepTable(axes).append_json(json, row);
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["values"]["gpu_type"], "H\xEF\xBF\xBD");
}

}  // namespace
}  // namespace isoflop::report
