// Long lines continue below their last column; wide tables wrap, then continue in blocks.
#include "isoflop/text/fit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/text/sections.hpp"
#include "report/report_test_support.hpp"

namespace isoflop::text {
namespace {

using report::lines_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::size_t widest(const std::string& text) {
    std::size_t widest = 0;
    for (const std::string& line : lines_of(text)) widest = std::max(widest, display_width(line));
    return widest;
}

std::string words(int count) {
    std::string text = "word";
    for (int i = 1; i < count; ++i) text += " word";
    return text;
}

TEST(Wrapped, DividesAtSpacesAndKeepsLongWords) {
    EXPECT_THAT(wrapped("one two three", 7), ElementsAre("one two", "three"));
    EXPECT_THAT(wrapped("one two three", 13), ElementsAre("one two three"));
    EXPECT_THAT(wrapped("a unbreakable b", 4), ElementsAre("a", "unbreakable", "b"));
    EXPECT_THAT(wrapped("", 4), ElementsAre(""));
}

TEST(FitLines, LeavesLinesThatFit) {
    const std::string text = "title\n\n  " + std::string(78, 'x') + "\n";
    EXPECT_EQ(fit_lines(text), text);
    EXPECT_EQ(fit_lines("no end"), "no end");
}

TEST(FitLines, ContinuesNotesAndValuesBelowThemselves) {
    TextReport report(Colour::off);
    report.row("label", "value", words(12));
    report.row("label", words(20));
    report.row("", "", words(12));
    const std::string text = fit_lines(report.str());
    EXPECT_LE(widest(text), kReportWidth);
    const auto lines = lines_of(text);
    ASSERT_EQ(lines.size(), 3U + 3U + 3U);
    EXPECT_EQ(lines[1].find("word"), lines[0].find("word")) << "the column of notes";
    EXPECT_EQ(lines[4].find("word"), lines[3].find("word")) << "the column of values";
    EXPECT_EQ(lines[7].find("word"), lines[6].find("word"));
}

TEST(FitLines, ContinuesOptionsBelowTheirMeaning) {
    const auto lines = lines_of(fit_lines("  --option TEXT        " + words(30), 60));
    ASSERT_GT(lines.size(), 2U);
    EXPECT_EQ(lines[1].find("word"), lines[0].find("word"));
}

TEST(FitLines, IndentsTheRestOfAParagraph) {
    const auto lines = lines_of(fit_lines("  " + words(30), 40));
    EXPECT_EQ(lines[0].find('w'), 2U);
    EXPECT_EQ(lines[1].find('w'), 4U);
}

TEST(FitLines, CountsNeitherColoursNorBytes) {
    const std::string bold_title = bold(std::string(kReportWidth, 't'), Colour::on);
    EXPECT_EQ(fit_lines(bold_title), bold_title);
    std::string umlauts;
    for (std::size_t i = 0; i < kReportWidth; ++i) umlauts += "ü";
    EXPECT_EQ(fit_lines(umlauts), umlauts);
}

TEST(FitLines, EndsWithinAnyWidth) {
    for (const std::size_t width : {1U, 2U, 10U, 40U}) {
        const std::string text =
            fit_lines("  label                          v  " + words(9), width);
        std::size_t count = 0;
        for (std::size_t at = text.find("word"); at != std::string::npos;
             at = text.find("word", at + 1)) {
            ++count;
        }
        EXPECT_EQ(count, 9U) << width;
    }
}

TEST(WideTable, WrapsColumnsThatAllowIt) {
    Table table({{"case", Align::left, Wrap::yes}, {"value"}});
    table.row({words(10), "1"});
    EXPECT_LE(widest(table.str("  ", Colour::off, 30)), 30U);
    EXPECT_THAT(table.str("  ", Colour::off, 30), HasSubstr("  1\n"));
    EXPECT_EQ(lines_of(table.str()).size(), 2U) << "no limit";
}

TEST(WideTable, WrapsTitlesBeforeItContinuesInBlocks) {
    Table table({{"name", Align::left}, {"long title"}, {"another title"}});
    table.row({"x", "1", "2"});
    EXPECT_EQ(table.str("", Colour::off, 22),
              "name   long  another\n"
              "      title    title\n"
              "x         1        2\n");
    EXPECT_EQ(table.str("", Colour::off, 15),
              "name   long\n"
              "      title\n"
              "x         1\n"
              "\n"
              "name  another\n"
              "        title\n"
              "x           2\n");
}

TEST(FlopCount, TakesTheUnitOfItsSize) {
    EXPECT_EQ(flop_count(43.306e9), "43.31 GFLOP");
    EXPECT_EQ(flop_count(6.1e6, 3), "6.100 MFLOP");
    EXPECT_EQ(flop_count(2'430.5e9), "2430.50 GFLOP");
    EXPECT_EQ(flop_count(158.14e12), "158.14 TFLOP");
    EXPECT_EQ(flop_count(1536), "1.54 KFLOP");
    EXPECT_EQ(flop_count(0), "0 FLOP");
    EXPECT_EQ(flop_difference(3.22e9), "+3.22 GFLOP");
    EXPECT_EQ(flop_difference(-1.6e6), "-1.60 MFLOP");
}

}  // namespace
}  // namespace isoflop::text
