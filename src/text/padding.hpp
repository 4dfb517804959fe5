// Text of a fixed width. Internal to the text layer.
#pragma once

#include <string>
#include <string_view>

#include "isoflop/text/fit.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::text {

/// `text` with spaces behind or before it, as wide as `width` columns or wider.
inline std::string padded(std::string_view text, std::size_t width, Align align) {
    const std::size_t used = display_width(text);
    const std::string padding(width > used ? width - used : 0, ' ');
    return align == Align::left ? std::string(text) + padding : padding + std::string(text);
}

inline void trim_right(std::string& line) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
}

}  // namespace isoflop::text
