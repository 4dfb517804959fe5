// Text from outside (files, arguments, other ranks, the network, a model) made safe to print: a
// terminal would obey control characters in it. Every name and value from outside passes through
// here on its way to a terminal.
#pragma once

#include <string>
#include <string_view>

namespace isoflop {

/// Control characters (C0, DEL, C1) and bytes that are no UTF-8 as \x1b, \n, \u0085, \xff.
[[nodiscard]] std::string printable(std::string_view text);

/// The same for text of several lines: line feeds and tabs stay.
[[nodiscard]] std::string printable_lines(std::string_view text);

/// The same for messages, which have line feeds and no tabs of their own.
[[nodiscard]] std::string printable_message(std::string_view text);

/// JSON text with what its writer leaves as it is, DEL and C1, as \u007f and \u0085.
[[nodiscard]] std::string printable_json(std::string_view json);

}  // namespace isoflop
