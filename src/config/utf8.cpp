#include "isoflop/config/utf8.hpp"

#include <cstdint>

namespace isoflop::config {
namespace {

std::uint32_t byte_at(std::string_view text, std::size_t offset) {
    return static_cast<unsigned char>(text[offset]);
}

/// Bytes of a code point, from its first byte; 0 when no code point can start with it.
std::size_t sequence_length(std::uint32_t first_byte) {
    if (first_byte < 0x80U) return 1;
    if (first_byte < 0xC2U) return 0;  // a continuation byte, or an overlong two-byte form
    if (first_byte < 0xE0U) return 2;
    if (first_byte < 0xF0U) return 3;
    if (first_byte < 0xF5U) return 4;
    return 0;
}

bool is_scalar_value(std::uint32_t value, std::size_t length) {
    if (length == 3) return value >= 0x800U && (value < 0xD800U || value > 0xDFFFU);
    if (length == 4) return value >= 0x10000U && value <= 0x10FFFFU;
    return true;
}

}  // namespace

CodePoint decode_utf8(std::string_view text, std::size_t offset) {
    const std::uint32_t first_byte = byte_at(text, offset);
    const std::size_t length = sequence_length(first_byte);
    if (length == 1) return {.value = first_byte, .length = 1, .valid = true};
    if (length == 0 || text.size() - offset < length) return {};

    // The first byte of an n-byte form carries 7 - n bits, each later byte 6 bits.
    std::uint32_t value = first_byte & (0x7FU >> length);
    for (std::size_t index = 1; index < length; ++index) {
        if (!is_continuation_byte(text[offset + index])) return {};
        value = (value << 6U) | (byte_at(text, offset + index) & 0x3FU);
    }
    if (!is_scalar_value(value, length)) return {};
    return {.value = value, .length = length, .valid = true};
}

void append_utf8(std::string& text, char32_t code_point) {
    const auto value = static_cast<std::uint32_t>(code_point);
    const auto append_continuation = [&](std::uint32_t shift) {
        text += static_cast<char>(0x80U | ((value >> shift) & 0x3FU));
    };
    if (value < 0x80U) {
        text += static_cast<char>(value);
    } else if (value < 0x800U) {
        text += static_cast<char>(0xC0U | (value >> 6U));
        append_continuation(0);
    } else if (value < 0x10000U) {
        text += static_cast<char>(0xE0U | (value >> 12U));
        append_continuation(6);
        append_continuation(0);
    } else {
        text += static_cast<char>(0xF0U | (value >> 18U));
        append_continuation(12);
        append_continuation(6);
        append_continuation(0);
    }
}

std::size_t find_invalid_utf8(std::string_view text) {
    std::size_t offset = 0;
    while (offset < text.size()) {
        if (byte_at(text, offset) < 0x80U) {
            ++offset;
            continue;
        }
        const CodePoint code_point = decode_utf8(text, offset);
        if (!code_point.valid) return offset;
        offset += code_point.length;
    }
    return offset;
}

}  // namespace isoflop::config
