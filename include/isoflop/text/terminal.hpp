// What the terminal behind a file descriptor can show.
#pragma once

#include <cstddef>
#include <optional>

#include "isoflop/text/text_report.hpp"

namespace isoflop::text {

/// On for a terminal that shows colour: not where NO_COLOR is set (no-color.org), nor TERM=dumb.
[[nodiscard]] Colour colour_of(int descriptor);

/// Columns; nullopt for files and pipes.
[[nodiscard]] std::optional<std::size_t> terminal_width(int descriptor);

/// Whether the program that read a pipe has ended, as `head` does when it has its lines.
[[nodiscard]] bool reader_has_left(int descriptor);

}  // namespace isoflop::text
