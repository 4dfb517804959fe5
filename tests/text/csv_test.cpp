// CSV that any reader takes, and that no spreadsheet executes.
#include "isoflop/text/csv.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "isoflop/text/text_report.hpp"
#include "report/report_test_support.hpp"

namespace isoflop::text {
namespace {

TEST(Csv, QuotesOnlyWhatNeedsIt) {
    EXPECT_EQ(csv_cell("1.5"), "1.5");
    EXPECT_EQ(csv_cell(""), "");
    EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
    EXPECT_EQ(csv_cell("say \"x\""), "\"say \"\"x\"\"\"");
    EXPECT_EQ(csv_cell("two\nlines"), "\"two\nlines\"");
    EXPECT_EQ(csv_cell("a b"), "a b");
}

TEST(Csv, NamesAreNoFormulas) {
    EXPECT_EQ(csv_name("=1+1"), "'=1+1");
    EXPECT_EQ(csv_name("@SUM(A1,A2)"), "\"'@SUM(A1,A2)\"");
    EXPECT_EQ(csv_name("+cmd"), "'+cmd");
    EXPECT_EQ(csv_name("-2+3"), "'-2+3");
    EXPECT_EQ(csv_name("  =1"), "'  =1");
    EXPECT_EQ(csv_name("a=1"), "a=1");
}

TEST(Csv, NumbersKeepTheirSign) {
    EXPECT_EQ(csv_name("-0.5"), "-0.5");
    EXPECT_EQ(csv_name("+1e9"), "+1e9");
}

TEST(Csv, ControlCharactersOfNamesAreEscaped) {
    EXPECT_EQ(csv_name("a\x1b[31m"), "a\\x1b[31m");
    EXPECT_EQ(csv_name("\t=1"), "\\t=1");
    EXPECT_EQ(csv_name("a\nb"), "a\\nb");
}

TEST(Csv, RecordsEndWithTheLineEndOfRfc4180) {
    std::string text;
    append_csv_record(text, std::vector<std::string>{"a", "", "c"});
    append_csv_record(text, std::vector<std::string>{"1"});
    EXPECT_EQ(text, "a,,c\r\n1\r\n");
}

TEST(Markdown, ColumnsAreAlignedInTheText) {
    Table table({{"name", Align::left}, {"x"}});
    table.row({"größer", "1"});
    table.row({"b", "12,345"});
    EXPECT_EQ(table.markdown(),
              "| name   |      x |\n"
              "| ------ | -----: |\n"
              "| größer |      1 |\n"
              "| b      | 12,345 |\n");
}

TEST(Markdown, CellsAreShownAsTheyAre) {
    Table table({{"a|b"}});
    table.row({"`c`|*d*"});
    table.row({"<b> _e_ num_gpus [x](y)"});
    const auto lines = report::lines_of(table.markdown());
    ASSERT_EQ(lines.size(), 4U);
    EXPECT_NE(lines[0].find("a\\|b"), std::string::npos);
    EXPECT_NE(lines[2].find("\\`c\\`\\|\\*d\\*"), std::string::npos);
    EXPECT_NE(lines[3].find("\\<b\\> \\_e\\_ num_gpus \\[x\\](y)"), std::string::npos);
}

TEST(Markdown, TitlesFromOutsideAreEscaped) {
    EXPECT_EQ(Table({{"a\x1b[31m"}}).markdown(), "| a\\\\x1b\\[31m |\n| ----------: |\n");
}

}  // namespace
}  // namespace isoflop::text
