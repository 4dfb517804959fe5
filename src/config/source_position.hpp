// Lines and columns of byte offsets. A line ends at LF, CRLF or a lone CR, everywhere: in
// locations, in
// `//` comments and in the excerpts of error messages.
#pragma once

#include <cstddef>
#include <string_view>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/utf8.hpp"

namespace isoflop::config {

/// True when the byte at `offset` is the last one of a line break.
[[nodiscard]] constexpr bool ends_line(std::string_view text, std::size_t offset) {
    if (text[offset] == '\n') return true;
    const bool before_line_feed = offset + 1 < text.size() && text[offset + 1] == '\n';
    return text[offset] == '\r' && !before_line_feed;
}

/// Turns offsets into locations. With rising offsets, as a parser requests them, the whole file
/// needs one pass; an earlier offset, which occurs once, in an error, starts again at the
/// beginning.
class LocationTracker {
public:
    explicit LocationTracker(std::string_view text) : text_(text) {}

    [[nodiscard]] SourceLocation locate(std::size_t offset) {
        if (offset < offset_) {
            offset_ = 0;
            location_ = kStart;
        }
        for (; offset_ < offset; ++offset_) {
            if (ends_line(text_, offset_)) {
                ++location_.line;
                location_.column = 1;
            } else if (!is_continuation_byte(text_[offset_])) {
                ++location_.column;
            }
        }
        return location_;
    }

private:
    static constexpr SourceLocation kStart{.line = 1, .column = 1};

    std::string_view text_;
    std::size_t offset_ = 0;
    SourceLocation location_ = kStart;
};

}  // namespace isoflop::config
