// Alignment of tables and rows.
#include "isoflop/text/text_report.hpp"

#include <gtest/gtest.h>

#include "report/report_test_support.hpp"

namespace isoflop::text {
namespace {

using report::lines_of;

/// Column, in code points, at which `word` starts.
std::size_t column_of(const std::string& line, std::string_view word) {
    std::size_t column = 0;
    for (std::size_t i = 0; i < line.find(word); ++i) {
        if ((static_cast<unsigned char>(line[i]) & 0xC0U) != 0x80U) ++column;
    }
    return column;
}

TEST(Table, AlignsColumnsOfDifferentWidths) {
    Table table({{"name", Align::left}, {"value"}, {"note", Align::left}});
    table.row({"a", "1", "x"});
    table.row({"longer name", "12,345", "y"});
    EXPECT_EQ(table.str(),
              "name          value  note\n"
              "a                 1  x\n"
              "longer name  12,345  y\n");
}

TEST(Table, CountsCodePointsNotBytes) {
    Table table({{"naïve", Align::left}, {"größe"}, {"end", Align::left}});
    table.row({"α β γ δ ε ζ", "1", "x"});
    table.row({"plain", "µ2", "y"});
    const auto lines = lines_of(table.str());
    ASSERT_EQ(lines.size(), 3U);
    const std::size_t column = column_of(lines[0], "end");
    EXPECT_EQ(column_of(lines[1], "x"), column);
    EXPECT_EQ(column_of(lines[2], "y"), column);
    EXPECT_EQ(column, 11U + 2 + 5 + 2);
}

TEST(Table, FillsMissingCellsAndTrimsLineEnds) {
    Table table({{"a", Align::left}, {"b", Align::left}});
    table.row({"only"});
    table.row({"both", "cells"});
    EXPECT_EQ(table.str("  "), "  a     b\n  only\n  both  cells\n");
}

TEST(Table, WithoutRowsIsItsHeader) {
    EXPECT_EQ(Table({{"a", Align::left}, {"b"}}).str(), "a  b\n");
}

TEST(TextReport, AlignsValuesAndNotesBehindMultiByteLabels) {
    TextReport report(Colour::off);
    report.row("plain", "1", "note");
    report.row("größe µ", "2 µs", "note");
    const auto lines = lines_of(report.str());
    EXPECT_EQ(column_of(lines[0], "1"), column_of(lines[1], "2"));
    EXPECT_EQ(column_of(lines[0], "note"), column_of(lines[1], "note"));
}

TEST(TextReport, LongLabelsAndValuesPushTheRestAside) {
    TextReport report(Colour::off);
    report.row(std::string(50, 'l'), std::string(40, 'v'), "note");
    EXPECT_EQ(report.str(), "  " + std::string(50, 'l') + " " + std::string(40, 'v') + " note\n");
}

TEST(TextReport, ColoursTitlesOnlyWhenAsked) {
    TextReport plain(Colour::off);
    plain.title("t");
    EXPECT_EQ(plain.str(), "t\n");
    TextReport coloured(Colour::on);
    coloured.title("t");
    EXPECT_EQ(coloured.str(), "\033[1mt\033[0m\n");
}

}  // namespace
}  // namespace isoflop::text
