// Text quoted for messages and for JSON.
#pragma once

#include <string>
#include <string_view>

namespace isoflop::config {

/// Appends `text` as a JSON string: quotes around it, control characters escaped, other characters
/// unchanged.
void append_json_string(std::string& result, std::string_view text);

/// The text, or its beginning and "..." when it is too long for a message.
[[nodiscard]] std::string shortened(std::string_view text);

/// A character in readable form: 'x', or U+00A0 where the character is not visible.
[[nodiscard]] std::string character_name(char32_t code_point);

}  // namespace isoflop::config
