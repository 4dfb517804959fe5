// Text quoted for messages and for JSON.
#pragma once

#include <string>
#include <string_view>

namespace isoflop::config {

/// Appends `text` as a JSON string: quotes around it, control characters escaped, the rest as it
/// is.
void append_json_string(std::string& result, std::string_view text);

/// The text itself, or its beginning and "..." when it is too long for a message.
[[nodiscard]] std::string shortened(std::string_view text);

/// A character as a person recognises it: 'x', or U+00A0 where printing it would not help.
[[nodiscard]] std::string character_name(char32_t code_point);

}  // namespace isoflop::config
