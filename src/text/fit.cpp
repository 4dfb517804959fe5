#include "isoflop/text/fit.hpp"

#include <algorithm>
#include <optional>

#include "row_columns.hpp"

namespace isoflop::text {
namespace {

/// Length of the part of `text` that fits into `width` columns, up to a space; at least a word.
std::size_t end_of_line(std::string_view text, std::size_t width) {
    if (display_width(text) <= width) return text.size();
    std::size_t end = text.find(' ');
    if (end == std::string_view::npos) return text.size();
    for (std::size_t space = end;
         space != std::string_view::npos && display_width(text.substr(0, space)) <= width;
         space = text.find(' ', space + 1)) {
        end = space;
    }
    while (end > 1 && text[end - 1] == ' ') --end;
    return end;
}

std::string_view without_spaces_before(std::string_view text) {
    return text.substr(std::min(text.find_first_not_of(' '), text.size()));
}

/// Byte at which column `column` begins; nullopt beyond the end.
std::optional<std::size_t> byte_of(std::string_view line, std::size_t column) {
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '\033') {
            i = std::min(line.find('m', i), line.size());
            continue;
        }
        const bool begins = (static_cast<unsigned char>(line[i]) & 0xC0U) != 0x80U;
        if (begins && column-- == 0) return i;
    }
    return std::nullopt;
}

/// Whether something begins in `column` behind two spaces.
bool begins_column(std::string_view line, std::size_t column) {
    const auto at = byte_of(line, column);
    return at && *at >= 2 && line[*at] != ' ' && line[*at - 1] == ' ' && line[*at - 2] == ' ';
}

/// Column of the last gap of two spaces and more that leaves a third of the width.
std::optional<std::size_t> last_gap(std::string_view line, std::size_t indent, std::size_t width) {
    for (std::size_t column = width - width / 3; column > indent; --column) {
        if (begins_column(line, column)) return column;
    }
    return std::nullopt;
}

/// Columns by which the continuation of a line is indented.
std::size_t continuation_of(std::string_view line, std::size_t width) {
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    if (indent >= kValueColumn) return indent;  // a note alone
    const bool row = indent == kRowIndent && begins_column(line, kValueColumn);
    if (row && begins_column(line, kNoteColumn) && kNoteColumn + width / 3 <= width)
        return kNoteColumn;
    if (row) return kValueColumn;
    return last_gap(line, indent, width).value_or(indent + 2);
}

/// Appends `line` to `text`, divided. What stands before the continued column keeps its place.
void append_fitted(std::string& text, std::string_view line, std::size_t width) {
    if (display_width(line) <= width) {
        text += line;
        return;
    }
    const std::size_t column = std::min(continuation_of(line, width), width - width / 3);
    const std::size_t head = byte_of(line, column).value_or(0);
    const std::size_t kept = head > 0 && line[head - 1] == ' '
                                 ? head
                                 : std::min(line.find_first_not_of(' '), line.size());
    text += line.substr(0, kept);
    std::size_t used = display_width(line.substr(0, kept));
    std::string_view rest = line.substr(kept);
    while (true) {
        const std::size_t end = end_of_line(rest, width - used);
        text += rest.substr(0, end);
        rest = without_spaces_before(rest.substr(end));
        if (rest.empty()) return;
        text += "\n" + std::string(column, ' ');
        used = column;
    }
}

}  // namespace

std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\033') {
            i = std::min(text.find('m', i), text.size());
            continue;
        }
        if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) ++width;
    }
    return width;
}

std::vector<std::string> wrapped(std::string_view paragraph, std::size_t width) {
    std::vector<std::string> lines;
    do {
        const std::size_t end = end_of_line(paragraph, width);
        lines.emplace_back(paragraph.substr(0, end));
        paragraph = without_spaces_before(paragraph.substr(end));
    } while (!paragraph.empty());
    return lines;
}

std::string fit_lines(std::string_view text, std::size_t width) {
    std::string fitted;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        append_fitted(fitted, text.substr(0, end), width);
        if (end < text.size()) fitted += '\n';
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return fitted;
}

}  // namespace isoflop::text
