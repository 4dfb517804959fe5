// UTF-8 decoding and encoding, strict as RFC 3629: no overlong forms, no surrogates, at most
// U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace isoflop::config {

/// One decoded step through a text. On invalid bytes `valid` is false, `length` is 1 and `value` is
/// U+FFFD, so that a caller that only displays text can continue.
struct CodePoint {
    char32_t value = 0xFFFD;
    std::size_t length = 1;
    bool valid = false;
};

/// Decodes the code point that starts at `offset`, which must be inside `text`.
[[nodiscard]] CodePoint decode_utf8(std::string_view text, std::size_t offset);

/// Appends the encoding of a code point (no surrogate, at most U+10FFFF).
void append_utf8(std::string& text, char32_t code_point);

/// Offset of the first byte that is not valid UTF-8, or `text.size()`.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view text);

/// True for the second and later bytes of a code point.
[[nodiscard]] constexpr bool is_continuation_byte(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

}  // namespace isoflop::config
