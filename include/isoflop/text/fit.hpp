// Lines that fit a terminal. Reports are written without regard to its width; what prints them
// continues long lines below the column in which their last part begins.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/text/text_report.hpp"

namespace isoflop::text {

/// Code points of `text`, without escape sequences that set colours.
[[nodiscard]] std::size_t display_width(std::string_view text);

/// Lines of at most `width` columns, divided at spaces; a word that is longer has a line of its
/// own. At least one line.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view paragraph, std::size_t width);

/// `text` with its lines of more than `width` columns divided at spaces. A line continues below its
/// last column, where it has columns (two spaces apart, or those of TextReport::row), else two
/// spaces deeper than it begins.
[[nodiscard]] std::string fit_lines(std::string_view text, std::size_t width = kReportWidth);

}  // namespace isoflop::text
