// Tables of GitHub's Markdown: any cell is shown as it is, and columns are aligned in the text too.
#include <algorithm>
#include <cctype>
#include <utility>

#include "isoflop/base/printable.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::text {
namespace {

bool is_word_character(std::string_view text, std::size_t i) {
    if (i >= text.size()) return false;
    const auto byte = static_cast<unsigned char>(text[i]);
    return std::isalnum(byte) != 0 || text[i] == '_' || (byte & 0x80U) != 0;
}

/// What would end the cell, mark emphasis, code, a link or HTML is escaped. An underscore within a
/// word marks nothing.
std::string markdown_cell(std::string_view text) {
    constexpr std::string_view kMarks = R"(\`*[]<>|~&$#)";
    std::string cell;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool within_word =
            i > 0 && is_word_character(text, i - 1) && is_word_character(text, i + 1);
        const bool mark =
            text[i] == '_' ? !within_word : kMarks.find(text[i]) != std::string_view::npos;
        if (mark) cell += '\\';
        cell += text[i];
    }
    return cell;
}

/// Code points, so that a multi-byte character does not shift the columns.
std::size_t code_points(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

void append_padded(std::string& out, std::string_view cell, std::size_t width, Align align) {
    const std::string padding(width - code_points(cell), ' ');
    if (align == Align::right) out += padding;
    out += cell;
    if (align == Align::left) out += padding;
}

}  // namespace

std::string Table::markdown() const {
    constexpr std::size_t kLeastWidth = 3;  // of "---" and "--:"
    std::vector<std::vector<std::string>> lines(1);
    for (const Column& column : columns_)
        lines.front().push_back(markdown_cell(printable(column.title)));
    for (const auto& cells : rows_) {
        std::vector<std::string>& line = lines.emplace_back();
        for (const std::string& cell : cells) line.push_back(markdown_cell(cell));
    }
    std::vector<std::size_t> widths(columns_.size(), kLeastWidth);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i)
            widths[i] = std::max(widths[i], code_points(line[i]));
    }
    std::vector<std::string> rule;
    for (std::size_t i = 0; i < columns_.size(); ++i)
        rule.push_back(std::string(widths[i] - 1, '-') +
                       (columns_[i].align == Align::left ? '-' : ':'));
    lines.insert(lines.begin() + 1, std::move(rule));
    std::string text;
    for (const auto& line : lines) {
        text += '|';
        for (std::size_t i = 0; i < line.size(); ++i) {
            text += ' ';
            append_padded(text, line[i], widths[i], columns_[i].align);
            text += " |";
        }
        text += '\n';
    }
    return text;
}

}  // namespace isoflop::text
