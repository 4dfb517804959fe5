// Error messages that show the place in a document.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>

#include "isoflop/base/printable.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/utf8.hpp"
#include "source_position.hpp"

namespace isoflop::config {
namespace {

/// Longest part of a line that a message shows, and the longest part before the caret; both in code
/// points.
constexpr std::size_t kExcerptLength = 100;
constexpr std::size_t kExcerptBeforeCaret = 60;
constexpr std::string_view kCut = "...";
constexpr std::string_view kTab = "    ";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct CodePointRange {
    std::uint32_t first;
    std::uint32_t last;
};

template <std::size_t Count>
bool in_any(const std::array<CodePointRange, Count>& ranges, std::uint32_t value) {
    return std::any_of(ranges.begin(), ranges.end(), [value](const CodePointRange& range) {
        return value >= range.first && value <= range.last;
    });
}

/// Characters that a terminal interprets instead of showing (C0 and C1 controls, text direction).
bool is_unprintable(std::uint32_t value) {
    static constexpr std::array<CodePointRange, 5> kRanges{
        {{0x00, 0x1F}, {0x7F, 0x9F}, {0x2028, 0x202E}, {0x2066, 0x2069}, {0xFEFF, 0xFEFF}}};
    return in_any(kRanges, value);
}

/// Width of a printable character in terminal columns: 0 for combining marks, 2 for East Asian wide
/// characters and emoji. Covers the large blocks only: in rare scripts the caret may be off by one.
std::size_t display_width(std::uint32_t value) {
    if (value < 0x300U) return 1;
    static constexpr std::array<CodePointRange, 4> kZero{
        {{0x300, 0x36F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}}};
    static constexpr std::array<CodePointRange, 9> kWide{{{0x1100, 0x115F},
                                                          {0x2E80, 0xA4CF},
                                                          {0xAC00, 0xD7A3},
                                                          {0xF900, 0xFAFF},
                                                          {0xFE30, 0xFE6F},
                                                          {0xFF00, 0xFF60},
                                                          {0xFFE0, 0xFFE6},
                                                          {0x1F300, 0x1FAFF},
                                                          {0x20000, 0x3FFFD}}};
    if (in_any(kZero, value)) return 0;
    return in_any(kWide, value) ? 2 : 1;
}

/// A part of a line as it is printed, and the width of what stands before the caret.
struct Excerpt {
    std::string text;
    std::size_t caret_indent = 0;
};

/// Appends one code point in printable form and returns its width.
std::size_t append_printable(std::string& result, std::string_view line, std::size_t offset,
                             const CodePoint& code_point) {
    const auto value = static_cast<std::uint32_t>(code_point.value);
    if (value == '\t') {
        result += kTab;
        return kTab.size();
    }
    if (!code_point.valid || is_unprintable(value)) {
        result += kReplacement;
        return 1;
    }
    result += line.substr(offset, code_point.length);
    return display_width(value);
}

/// Line `wanted` (from 1) of the text, without its line break; nullopt beyond the last line.
std::optional<std::string_view> find_line(std::string_view text, std::uint32_t wanted) {
    std::uint32_t line = 1;
    std::size_t begin = 0;
    for (std::size_t offset = 0; line < wanted; ++offset) {
        if (offset == text.size()) return std::nullopt;
        if (!ends_line(text, offset)) continue;
        ++line;
        begin = offset + 1;
    }
    const std::size_t end = std::min(text.find_first_of("\r\n", begin), text.size());
    return text.substr(begin, end - begin);
}

/// Offset of a column (from 1) in a line; at most the line's end.
std::size_t column_offset(std::string_view line, std::uint32_t column) {
    std::size_t offset = 0;
    for (std::uint32_t current = 1; current < column && offset < line.size(); ++current) {
        offset += decode_utf8(line, offset).length;
    }
    return offset;
}

/// Steps back over at most `count` code points.
std::size_t step_back(std::string_view line, std::size_t offset, std::size_t count) {
    for (std::size_t step = 0; step < count && offset > 0; ++step) {
        --offset;
        while (offset > 0 && is_continuation_byte(line[offset])) --offset;
    }
    return offset;
}

Excerpt cut_around(std::string_view line, std::uint32_t column) {
    const std::size_t caret_offset = column_offset(line, column);
    // A line that fits is shown whole, wherever the caret is.
    const bool fits = column_offset(line, kExcerptLength + 1) == line.size();
    std::size_t offset = fits ? 0 : step_back(line, caret_offset, kExcerptBeforeCaret);

    Excerpt excerpt;
    if (offset > 0) excerpt.text += kCut;
    std::size_t width = excerpt.text.size();
    for (std::size_t shown = 0; shown < kExcerptLength && offset < line.size(); ++shown) {
        if (offset == caret_offset) excerpt.caret_indent = width;
        const CodePoint code_point = decode_utf8(line, offset);
        width += append_printable(excerpt.text, line, offset, code_point);
        offset += code_point.length;
    }
    if (caret_offset == line.size()) excerpt.caret_indent = width;
    if (offset < line.size()) excerpt.text += kCut;
    return excerpt;
}

}  // namespace

std::string Document::describe(SourceLocation location, std::string_view text_of_message) const {
    // An exception's text ends at a zero byte.
    const std::string message = printable_message(text_of_message);
    if (location.line == 0) return fmt::format("{}: error: {}", file_name, message);
    std::string result =
        fmt::format("{}:{}:{}: error: {}", file_name, location.line, location.column, message);
    const auto line = find_line(text, location.line);
    if (!line) return result;

    const Excerpt excerpt = cut_around(*line, location.column);
    const std::string line_number = fmt::format("{}", location.line);
    fmt::format_to(std::back_inserter(result), "\n  {} | {}\n  {} | {}^", line_number, excerpt.text,
                   std::string(line_number.size(), ' '), std::string(excerpt.caret_indent, ' '));
    return result;
}

}  // namespace isoflop::config
