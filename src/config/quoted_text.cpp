#include "isoflop/config/quoted_text.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

#include "isoflop/config/utf8.hpp"

namespace isoflop::config {

void append_json_string(std::string& result, std::string_view text) {
    result += '"';
    for (const char letter : text) {
        switch (letter) {
            case '"': result += "\\\""; break;
            case '\\': result += "\\\\"; break;
            case '\n': result += "\\n"; break;
            case '\r': result += "\\r"; break;
            case '\t': result += "\\t"; break;
            default: {
                const auto byte = static_cast<unsigned char>(letter);
                if (byte < 0x20U || byte == 0x7FU) {
                    fmt::format_to(std::back_inserter(result), "\\u{:04x}", byte);
                } else {
                    result += letter;
                }
            }
        }
    }
    result += '"';
}

std::string shortened(std::string_view text) {
    constexpr std::size_t kLongest = 48;
    if (text.size() <= kLongest) return std::string(text);
    std::size_t end = kLongest;
    while (end > 0 && is_continuation_byte(text[end])) --end;
    return std::string(text.substr(0, end)) + "...";
}

std::string character_name(char32_t code_point) {
    const auto value = static_cast<std::uint32_t>(code_point);
    if (value == '\'') return "a single quote";
    if (value > 0x20U && value < 0x7FU) return fmt::format("'{}'", static_cast<char>(value));
    return fmt::format("U+{:04X}", value);
}

}  // namespace isoflop::config
