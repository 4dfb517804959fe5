#include "isoflop/text/text_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/printable.hpp"
#include "row_columns.hpp"

namespace isoflop::text {
namespace {

constexpr std::size_t kLabelWidth = 30;
constexpr std::size_t kValueWidth = 18;

/// Code points, so that a multi-byte character does not shift the columns.
std::size_t display_width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

std::string padded(std::string_view text, std::size_t width, Align align) {
    const std::size_t used = display_width(text);
    const std::string padding(width > used ? width - used : 0, ' ');
    return align == Align::left ? std::string(text) + padding : padding + std::string(text);
}

void trim_right(std::string& line) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
}

}  // namespace

std::string bold(std::string_view text, Colour colour) {
    return colour == Colour::on ? fmt::format("\033[1m{}\033[0m", text) : std::string(text);
}

void Table::row(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
}

std::string Table::str(std::string_view indent, Colour colour) const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        std::size_t width = display_width(columns_[i].title);
        for (const auto& cells : rows_) width = std::max(width, display_width(cells[i]));
        widths.push_back(width);
    }
    const auto compose = [&](const auto& cell_text) {
        std::string line;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            if (i > 0) line += "  ";
            line += padded(cell_text(i), widths[i], columns_[i].align);
        }
        trim_right(line);
        return line;
    };
    std::string text;
    text += indent;
    text += bold(compose([&](std::size_t i) -> const std::string& { return columns_[i].title; }),
                 colour);
    text += '\n';
    for (const auto& cells : rows_) {
        text += indent;
        text += compose([&](std::size_t i) -> const std::string& { return cells[i]; });
        text += '\n';
    }
    return text;
}

void TextReport::title(std::string_view text) {
    text_ += bold(printable(text), colour_) + "\n";
}

void TextReport::section(std::string_view text) {
    text_ += "\n" + bold(printable(text), colour_) + "\n";
}

void TextReport::row(std::string_view label, std::string_view value, std::string_view note) {
    static_assert(kValueColumn == 2 + kLabelWidth + 1 &&
                  kNoteColumn == kValueColumn + kValueWidth + 1);
    std::string line = "  " + padded(printable(label), kLabelWidth, Align::left) + " " +
                       padded(printable_lines(value), kValueWidth, Align::left);
    if (!note.empty()) line += " " + printable_lines(note);
    trim_right(line);
    text_ += line + "\n";
}

void TextReport::line(std::string_view text) {
    text_ += fmt::format("  {}\n", printable_lines(text));
}

void TextReport::table(const Table& table) {
    text_ += table.str("  ", colour_, kReportWidth);
}

}  // namespace isoflop::text
