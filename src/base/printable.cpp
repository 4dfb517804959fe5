#include "isoflop/base/printable.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>

namespace isoflop {
namespace {

enum class Lines { escape, keep, keep_line_feeds };

constexpr char32_t kInvalid = 0xFFFFFFFF;

struct CodePoint {
    char32_t value = kInvalid;
    std::size_t bytes = 1;
};

std::uint8_t byte_at(std::string_view text, std::size_t at) {
    return at < text.size() ? static_cast<std::uint8_t>(text[at]) : std::uint8_t{0};
}

/// Length of the sequence that a byte begins; 0 when it begins none.
std::size_t sequence_length(std::uint8_t first) {
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first < 0xE0) return 2;
    if (first >= 0xE0 && first < 0xF0) return 3;
    if (first >= 0xF0 && first < 0xF5) return 4;
    return 0;
}

/// Refuses what RFC 3629 does: overlong forms, surrogates, values above U+10FFFF.
CodePoint code_point_at(std::string_view text, std::size_t at) {
    const std::uint8_t first = byte_at(text, at);
    const std::size_t length = sequence_length(first);
    if (length == 1) return {first, 1};
    if (length == 0) return {};
    char32_t value = first & (0x7FU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        const std::uint8_t byte = byte_at(text, at + i);
        if ((byte & 0xC0U) != 0x80U) return {};
        value = (value << 6U) | (byte & 0x3FU);
    }
    constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = value >= 0xD800 && value < 0xE000;
    if (value < kSmallest.at(length) || surrogate || value > 0x10FFFF) return {};
    return {value, length};
}

void append_escaped(std::string& result, const CodePoint& point, std::uint8_t byte) {
    const auto out = std::back_inserter(result);
    if (point.value == '\n') {
        result += R"(\n)";
    } else if (point.value == '\t') {
        result += R"(\t)";
    } else if (point.value == '\r') {
        result += R"(\r)";
    } else if (point.value == kInvalid || point.value < 0x80) {
        fmt::format_to(out, R"(\x{:02x})", byte);
    } else {
        fmt::format_to(out, R"(\u{:04x})", static_cast<std::uint32_t>(point.value));
    }
}

bool is_control(char32_t value) {
    return value < 0x20 || (value >= 0x7F && value < 0xA0);
}

std::string escape(std::string_view text, Lines lines) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint point = code_point_at(text, at);
        const bool kept = (lines != Lines::escape && point.value == '\n') ||
                          (lines == Lines::keep && point.value == '\t');
        if (point.value == kInvalid || (is_control(point.value) && !kept)) {
            append_escaped(result, point, byte_at(text, at));
        } else {
            result += text.substr(at, point.bytes);
        }
        at += point.bytes;
    }
    return result;
}

}  // namespace

std::string printable(std::string_view text) {
    return escape(text, Lines::escape);
}

std::string printable_lines(std::string_view text) {
    return escape(text, Lines::keep);
}

std::string printable_message(std::string_view text) {
    return escape(text, Lines::keep_line_feeds);
}

std::string printable_json(std::string_view json) {
    std::string result;
    result.reserve(json.size());
    for (std::size_t at = 0; at < json.size();) {
        const CodePoint point = code_point_at(json, at);
        if (point.value != kInvalid && point.value >= 0x7F && is_control(point.value)) {
            fmt::format_to(std::back_inserter(result), R"(\u{:04x})",
                           static_cast<std::uint32_t>(point.value));
        } else {
            result += json.substr(at, point.bytes);
        }
        at += point.bytes;
    }
    return result;
}

}  // namespace isoflop
