// Tables that fit a width: cells of several lines, and blocks of columns.
#include <algorithm>

#include "isoflop/text/text_report.hpp"
#include "padding.hpp"

namespace isoflop::text {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastWrapped = 16;  ///< columns of wrapped cells

std::size_t longest_word(std::string_view text) {
    std::size_t longest = 0;
    for (const std::string& word : wrapped(text, 1))
        longest = std::max(longest, display_width(word));
    return longest;
}

/// Columns `first` to `end` of a table, and how wide they are.
struct Block {
    std::vector<std::size_t> columns;
    std::vector<std::size_t> widths;

    [[nodiscard]] std::size_t width() const {
        std::size_t sum = columns.empty() ? 0 : kGap * (columns.size() - 1);
        for (const std::size_t each : widths) sum += each;
        return sum;
    }
};

/// One row of cells in as many lines as its highest cell needs.
std::vector<std::string> lines_of_row(const Block& block, const std::vector<Column>& columns,
                                      const std::vector<std::string>& cells) {
    std::vector<std::vector<std::string>> parts;
    std::size_t height = 1;
    for (std::size_t i = 0; i < block.columns.size(); ++i) {
        parts.push_back(wrapped(cells[block.columns[i]], block.widths[i]));
        height = std::max(height, parts.back().size());
    }
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < height; ++at) {
        std::string line;
        for (std::size_t i = 0; i < parts.size(); ++i) {
            if (i > 0) line += std::string(kGap, ' ');
            const std::string_view part = at < parts[i].size() ? parts[i][at] : std::string_view();
            line += padded(part, block.widths[i], columns[block.columns[i]].align);
        }
        trim_right(line);
        lines.push_back(std::move(line));
    }
    return lines;
}

/// Widths at which cells, or titles too, are wrapped until the columns fit.
std::vector<std::size_t> fitted_widths(const std::vector<Column>& columns,
                                       const std::vector<std::vector<std::string>>& rows,
                                       std::size_t limit) {
    Block all;
    std::vector<std::size_t> of_cells(columns.size(), 0);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        for (const auto& cells : rows) of_cells[i] = std::max(of_cells[i], display_width(cells[i]));
        all.columns.push_back(i);
        all.widths.push_back(std::max(of_cells[i], display_width(columns[i].title)));
    }
    if (all.width() <= limit) return all.widths;
    for (std::size_t i = 0; i < columns.size(); ++i)
        all.widths[i] = std::max(of_cells[i], longest_word(columns[i].title));
    while (all.width() > limit) {
        std::size_t widest = columns.size();
        for (std::size_t i = 0; i < columns.size(); ++i) {
            if (columns[i].wrap == Wrap::no || all.widths[i] <= kLeastWrapped) continue;
            if (widest == columns.size() || all.widths[i] > all.widths[widest]) widest = i;
        }
        if (widest == columns.size()) break;
        --all.widths[widest];
    }
    return all.widths;
}

}  // namespace

std::string Table::str(std::string_view indent, Colour colour, std::size_t width) const {
    const std::size_t limit = width == kAnyWidth ? width : width - std::min(width, indent.size());
    const std::vector<std::size_t> all = fitted_widths(columns_, rows_, limit);
    std::vector<std::string> titles;
    titles.reserve(columns_.size());
    for (const Column& column : columns_) titles.push_back(column.title);
    std::string text;
    for (std::size_t next = 0; next < columns_.size();) {
        Block block;
        const auto take = [&](std::size_t column) {
            block.columns.push_back(column);
            block.widths.push_back(all[column]);
        };
        if (next > 0) take(0);
        do {
            take(next++);
        } while (next < columns_.size() && block.width() + kGap + all[next] <= limit);
        if (!text.empty()) text += '\n';
        for (const std::string& line : lines_of_row(block, columns_, titles))
            text.append(indent).append(bold(line, colour)).append("\n");
        for (const auto& cells : rows_) {
            for (const std::string& line : lines_of_row(block, columns_, cells))
                text.append(indent).append(line).append("\n");
        }
    }
    return text;
}

}  // namespace isoflop::text
