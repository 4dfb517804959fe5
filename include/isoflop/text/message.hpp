// Warnings and errors on a terminal. Elsewhere a message stays as it is: programs read its lines.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace isoflop::text {

/// The lines of `message`, those of more than `width` columns divided between words. What is to be
/// copied whole stays on one line: names of files before ":LINE:COLUMN: " or ": error: ", texts in
/// quotes, options with their value, the command behind "Example: ". Lines of a file that the
/// message shows ("  4 | ...") stay as they are.
[[nodiscard]] std::string wrapped_message(std::string_view message, std::size_t width);

/// `message` as the file behind the descriptor takes it: wrapped on a terminal, at 80 columns where
/// it does not say how many it has.
[[nodiscard]] std::string message_for(int descriptor, std::string_view message);

}  // namespace isoflop::text
