// The text of emitted configurations: keys with comments, in lines that fit a terminal.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace isoflop::recipe {

/// A paragraph as comment lines.
[[nodiscard]] std::string comment_lines(std::string_view paragraph, std::size_t indent);
[[nodiscard]] std::string heading_lines(std::span<const std::string> paragraphs);

/// A key and its value with the comment beside it, or above it where both do not fit a line. An
/// empty comment is none.
[[nodiscard]] std::string commented_line(std::string_view code, std::string_view comment,
                                         std::size_t indent);

}  // namespace isoflop::recipe
