// Aligned text for the user: titled sections of label/value rows, and tables.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace isoflop::text {

/// Whether escape sequences may be used; off unless the output is a terminal.
enum class Colour { off, on };

enum class Align { left, right };

/// No limit to the columns of a line.
inline constexpr std::size_t kAnyWidth = static_cast<std::size_t>(-1);
/// Columns of reports in files and pipes, and on a terminal whose width is unknown.
inline constexpr std::size_t kReportWidth = 80;

/// Whether the cells of a column may have several lines where the table is too wide.
enum class Wrap { no, yes };

struct Column {
    std::string title;
    Align align = Align::right;
    Wrap wrap = Wrap::no;
};

/// Columns as wide as their widest cell (counted in code points), two spaces apart.
class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    void row(std::vector<std::string> cells);
    [[nodiscard]] std::string str(std::string_view indent = "", Colour colour = Colour::off) const;
    /// In lines of at most `width` columns: titles and the cells of columns that allow it are
    /// wrapped; then the table continues in further blocks, each with the first column.
    [[nodiscard]] std::string str(std::string_view indent, Colour colour, std::size_t width) const;
    /// The same as a table of GitHub's Markdown, with its columns aligned in the text too.
    [[nodiscard]] std::string markdown() const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

class TextReport {
public:
    explicit TextReport(Colour colour) : colour_(colour) {}

    void title(std::string_view text);
    void section(std::string_view text);
    /// "  label                value   note"
    void row(std::string_view label, std::string_view value, std::string_view note = {});
    void line(std::string_view text);
    void table(const Table& table);
    [[nodiscard]] const std::string& str() const { return text_; }

private:
    Colour colour_;
    std::string text_;
};

/// Wraps in bold when colour is on.
[[nodiscard]] std::string bold(std::string_view text, Colour colour);

}  // namespace isoflop::text
