#include "isoflop/text/help_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "isoflop/text/fit.hpp"

namespace isoflop::text {
namespace {

/// Meanings begin behind the longest name, but not further right than this.
constexpr std::size_t kLastColumn = 28;

std::string rows_of(std::string_view title, const std::vector<HelpRow>& rows) {
    if (rows.empty()) return {};
    std::size_t column = 0;
    for (const HelpRow& row : rows) column = std::max(column, row.name.size() + 4);
    column = std::min(column, kLastColumn);
    std::string text = fmt::format("\n{}:\n", title);
    for (const HelpRow& row : rows) {
        const std::string name = fmt::format("  {}  ", row.name);
        text += fmt::format("{:<{}}{}\n", name, column, row.meaning);
    }
    return text;
}

}  // namespace

std::string help_text(const HelpPage& page, std::size_t width) {
    std::string text = fmt::format("Usage: {}\n{}\n", page.usage, page.about);
    text += rows_of("Commands", page.commands);
    text += rows_of("Options", page.options);
    text += "\nExamples:\n";
    for (const std::string& example : page.examples) text += fmt::format("  {}\n", example);
    return fit_lines(fmt::format("{}\n{}\n", text, page.more), width);
}

Help help_of(const std::vector<std::string>& arguments) {
    const auto given = [&](std::string_view name) {
        return std::find(arguments.begin(), arguments.end(), name) != arguments.end();
    };
    if (given("--help-all")) return Help::all;
    return given("--help") || given("-h") ? Help::page : Help::none;
}

}  // namespace isoflop::text
