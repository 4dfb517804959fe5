// Rows of a sweep as text and as JSON.
#include <gtest/gtest.h>

#include "isoflop/report/sweep_table.hpp"
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

TEST(SweepTable, DataHaveTheirEpochsAndTheLimit) {
    const std::vector<planner::SweepAxis> axes{{"dataset_size", {"1e9"}}};
    planner::SweepRow row;
    row.value_indices = {0};
    row.epochs = 3.5;
    row.data_bind = true;
    const SweepTable table(axes, {.data = true});
    std::string out = table.header();
    table.append_row(out, row);
    const auto lines = lines_of(out);
    EXPECT_NE(lines[0].find("epochs"), std::string::npos);
    EXPECT_NE(lines[1].find("3.5"), std::string::npos);
    EXPECT_NE(lines[1].find("   data"), std::string::npos);
    EXPECT_EQ(SweepTable(axes).header().find("epochs"), std::string::npos);
    std::string json;
    SweepTable(axes).append_json(json, row);
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["epochs"], 3.5);
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["data_bind"], true);
}

TEST(SweepTable, TextLeavesOutColumnsThatDoNotFitAndNamesThem) {
    const std::vector<planner::SweepAxis> axes{{"training_efficiency.expected_mfu", {"0.4"}}};
    planner::SweepRow row;
    row.value_indices = {0};
    row.fits = true;
    const SweepTable wide(axes);
    EXPECT_EQ(wide.footer(), "");
    EXPECT_NE(wide.header().find("loss*"), std::string::npos);
    for (const std::size_t width : {80U, 76U}) {
        const SweepTable table(axes, {.num_gpus = true, .costs = true}, width);
        std::string out = table.header();
        table.append_row(out, row);
        const auto lines = lines_of(out);
        ASSERT_EQ(lines.size(), 2U) << width;
        for (const std::string& line : lines) EXPECT_LE(line.size(), width) << line;
        EXPECT_EQ(lines[0].find("loss*"), std::string::npos);
        EXPECT_EQ(lines[0].find("fits"), lines[1].find("yes"));
        EXPECT_TRUE(table.footer().starts_with("Without ")) << table.footer();
        EXPECT_NE(table.footer().find("loss*"), std::string::npos);
        std::string csv = table.csv_header();
        EXPECT_NE(csv.find("optimal_loss"), std::string::npos);
    }
}

TEST(SweepTable, RowsOfLongNamesContinueOnFurtherLines) {
    const std::vector<planner::SweepAxis> axes{{"architecture", {std::string(70, 'n')}}};
    planner::SweepRow row;
    row.value_indices = {0};
    row.n_tokens = 8e9;
    const SweepTable table(axes, {}, 80);
    std::string out = table.header();
    table.append_row(out, row);
    for (const std::string& line : lines_of(out)) EXPECT_LE(line.size(), 80U) << line;
    EXPECT_NE(out.find("8.00B"), std::string::npos);
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

/// A row with an energy and a cost, of {"num_gpus", {"8", "=2"}}.
planner::SweepRow priced_row() {
    planner::SweepRow row;
    row.value_indices = {0};
    row.n_params = 6.89e9;
    row.compute_flops = 9.23e21;
    row.energy_kwh = 3370.752;
    row.cost = 14400;
    row.currency = "EUR";
    row.fits = true;
    return row;
}

TEST(SweepTable, HasCostColumnsInTheTextWhenAsked) {
    const std::vector<planner::SweepAxis> axes{{"num_gpus", {"8"}}};
    std::string plain, priced;
    SweepTable(axes).append_row(plain, priced_row());
    SweepTable(axes, {.costs = true}).append_row(priced, priced_row());
    EXPECT_EQ(plain.find("MWh"), std::string::npos);
    EXPECT_NE(priced.find("3.37 MWh"), std::string::npos);
    EXPECT_NE(priced.find("14,400.00 EUR"), std::string::npos);
    EXPECT_NE(SweepTable(axes, {.costs = true}).header().find("energy"), std::string::npos);
    EXPECT_EQ(SweepTable(axes, {.costs = true}).header().find("hours"), std::string::npos);
    EXPECT_NE(SweepTable(axes, {.available_hours = true}).header().find("hours"),
              std::string::npos);
    std::string json;
    SweepTable(axes).append_json(json, priced_row());
    EXPECT_EQ(nlohmann::ordered_json::parse(json)["cost"], 14400.0);
}

TEST(SweepTable, CsvHasUnitsFullPrecisionAndReasons) {
    std::vector<planner::SweepAxis> axes{{"num_gpus", {"8", "=2"}, {}, "GPUs"}};
    axes.front().with.push_back({"gpu_type", {"H100", "@x,y"}, {}, ""});
    const SweepTable table(axes);
    std::string csv = table.csv_header();
    planner::SweepRow row = priced_row();
    row.predicted_loss = 1.0 / 3;
    table.append_csv(csv, row);
    planner::SweepRow refused;
    refused.value_indices = {1};
    refused.refusal = "too \"many\",\nreally";
    table.append_csv(csv, refused);
    const auto lines = lines_of(csv);
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_TRUE(
        lines[0].starts_with("num_gpus [GPUs],gpu_type,num_gpus [GPUs],available_hours [h],"));
    EXPECT_NE(lines[0].find("predicted_loss [nats/token]"), std::string::npos);
    EXPECT_NE(lines[1].find(",0.3333333333333333,"), std::string::npos);
    EXPECT_NE(lines[1].find(",3370.752,14400,EUR,true,false,"), std::string::npos);
    EXPECT_EQ(lines[2].substr(0, 12), "'=2,\"'@x,y\",");
    EXPECT_NE(lines[2].find(",\"too \"\"many\"\",\"\r"), std::string::npos);
}

TEST(SweepTable, MarkdownHasARowForEveryPoint) {
    const std::vector<planner::SweepAxis> axes{{"num_gpus", {"8", "1|6"}}};
    planner::SweepRow refused;
    refused.value_indices = {1};
    refused.refusal = "too | many\nreally";
    const std::vector<planner::SweepRow> rows{priced_row(), refused};
    const auto lines = lines_of(SweepTable(axes).markdown(rows));
    ASSERT_EQ(lines.size(), 4U);
    for (const std::string& line : lines) EXPECT_EQ(line.size(), lines[0].size());
    EXPECT_NE(lines[0].find("| refusal"), std::string::npos);
    EXPECT_NE(lines[2].find("14,400.00 EUR"), std::string::npos);
    EXPECT_NE(lines[3].find("1\\|6"), std::string::npos);
    EXPECT_NE(lines[3].find("| too \\| many |"), std::string::npos);
    const std::vector<planner::SweepRow> planned{priced_row()};
    EXPECT_EQ(SweepTable(axes).markdown(planned).find("refusal"), std::string::npos);
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
