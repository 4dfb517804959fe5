#include "jsonc_scanner.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

#include "isoflop/base/error.hpp"
#include "isoflop/config/quoted_text.hpp"
#include "isoflop/config/utf8.hpp"

namespace isoflop::config {
namespace {

bool is_digit(char letter) {
    return letter >= '0' && letter <= '9';
}

bool is_word_character(char letter) {
    return is_digit(letter) || letter == '_' || (letter >= 'a' && letter <= 'z') ||
           (letter >= 'A' && letter <= 'Z');
}

bool is_control_character(char letter) {
    return static_cast<unsigned char>(letter) < 0x20U;
}

bool is_high_surrogate(char32_t value) {
    return value >= 0xD800 && value <= 0xDBFF;
}
bool is_low_surrogate(char32_t value) {
    return value >= 0xDC00 && value <= 0xDFFF;
}

/// Value of a hexadecimal digit, or -1.
int hex_digit_value(char letter) {
    if (is_digit(letter)) return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
    return -1;
}

}  // namespace

void Scanner::fail(std::size_t offset, std::string_view message) {
    fail(tracker_.locate(offset), message);
}

void Scanner::fail(SourceLocation location, std::string_view message) const {
    throw ConfigError(document_.describe(location, message));
}

bool Scanner::consume(char expected) {
    if (at_end() || text_[offset_] != expected) return false;
    ++offset_;
    return true;
}

std::string Scanner::next_character_name() const {
    return character_name(decode_utf8(text_, offset_).value);
}

// --- Blanks and comments -----------------------------------------------------------------------

void Scanner::skip_blanks() {
    while (!at_end()) {
        switch (text_[offset_]) {
            case ' ':
            case '\t':
            case '\n':
            case '\r': ++offset_; break;
            case '/': skip_comment(); break;
            case '#': fail(offset_, "'#' starts no comment here; write // or /* */");
            default: return;
        }
    }
}

void Scanner::skip_comment() {
    if (rest().starts_with("//")) {
        offset_ = line_end(offset_);
    } else if (rest().starts_with("/*")) {
        const std::size_t closing = text_.find("*/", offset_ + 2);
        if (closing == std::string_view::npos) {
            fail(offset_, "this comment is never closed; '*/' is missing");
        }
        offset_ = closing + 2;
    } else {
        fail(offset_, "unexpected '/'; a comment starts with // or /*");
    }
}

std::size_t Scanner::line_end(std::size_t offset) const {
    const std::size_t end = text_.find_first_of("\r\n", offset);
    return end == std::string_view::npos ? text_.size() : end;
}

// --- Strings -----------------------------------------------------------------------------------

std::string Scanner::read_string() {
    const std::size_t string_offset = offset_;
    ++offset_;
    std::string result;
    while (true) {
        const std::size_t run_offset = offset_;
        while (!at_end() && text_[offset_] != '"' && text_[offset_] != '\\' &&
               !is_control_character(text_[offset_])) {
            ++offset_;
        }
        result.append(text_.substr(run_offset, offset_ - run_offset));
        if (consume('"')) return result;
        if (peek() != '\\') fail_in_string(string_offset);
        read_escape(result);
    }
}

/// The string met the end of the file or a control character at the current offset.
void Scanner::fail_in_string(std::size_t string_offset) {
    if (at_end() || text_[offset_] == '\n' || text_[offset_] == '\r') {
        fail(string_offset, "this string is not closed on its line; '\"' is missing");
    }
    const std::uint32_t value = static_cast<unsigned char>(text_[offset_]);
    fail(offset_,
         value == '\t'
             ? std::string("a tab inside a string must be written as \\t")
             : fmt::format("control character U+{0:04X} inside a string must be written as "
                           "\\u{0:04x}",
                           value));
}

void Scanner::read_escape(std::string& result) {
    const std::size_t escape_offset = offset_;
    ++offset_;
    const char letter = peek();
    switch (letter) {
        case '"':
        case '\\':
        case '/': result += letter; break;
        case 'b': result += '\b'; break;
        case 'f': result += '\f'; break;
        case 'n': result += '\n'; break;
        case 'r': result += '\r'; break;
        case 't': result += '\t'; break;
        case 'u': append_utf8(result, read_unicode_escape()); return;
        default:
            fail(escape_offset,
                 "invalid escape; allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX (a "
                 "backslash "
                 "itself is written \\\\)");
    }
    ++offset_;
}

/// Reads "uXXXX" after the backslash, and the second half of a surrogate pair.
char32_t Scanner::read_unicode_escape() {
    const std::size_t escape_offset = offset_ - 1;
    const char32_t first = read_four_hex_digits(escape_offset);
    if (is_low_surrogate(first)) {
        fail(escape_offset, "a low surrogate must follow a high surrogate (\\uD800 to \\uDBFF)");
    }
    if (!is_high_surrogate(first)) return first;

    constexpr std::string_view kNoPair =
        "a high surrogate must be followed by a low surrogate (\\uDC00 to \\uDFFF)";
    if (!rest().starts_with("\\u")) fail(escape_offset, kNoPair);
    const std::size_t second_offset = offset_;
    ++offset_;
    const char32_t second = read_four_hex_digits(second_offset);
    if (!is_low_surrogate(second)) fail(escape_offset, kNoPair);
    return 0x10000 + ((first - 0xD800) << 10U) + (second - 0xDC00);
}

/// Reads "uXXXX"; the current offset is at the 'u'.
char32_t Scanner::read_four_hex_digits(std::size_t escape_offset) {
    char32_t value = 0;
    for (int count = 0; count < 4; ++count) {
        ++offset_;
        const int digit = hex_digit_value(peek());
        if (digit < 0) fail(escape_offset, "\\u needs four hexadecimal digits");
        value = (value << 4U) | static_cast<char32_t>(digit);
    }
    ++offset_;
    return value;
}

// --- Numbers and words -------------------------------------------------------------------------

Value::Storage Scanner::read_number() {
    const std::size_t number_offset = offset_;
    consume('-');
    skip_integer_part();
    bool integer = true;
    if (consume('.')) {
        integer = false;
        skip_digits("a digit must follow the decimal point");
    }
    if (peek() == 'e' || peek() == 'E') {
        integer = false;
        ++offset_;
        if (!consume('-')) consume('+');
        skip_digits("the exponent has no digits");
    }
    refuse_number_suffix(number_offset);

    const char* const begin = text_.data() + number_offset;
    const char* const end = text_.data() + offset_;
    std::int64_t whole = 0;
    if (integer && std::from_chars(begin, end, whole).ec == std::errc()) return whole;
    double number = 0;
    if (std::from_chars(begin, end, number).ec == std::errc()) return number;
    fail(number_offset,
         fmt::format("number {} is outside the range of a double (about 1e-308 to 1.8e308)",
                     shortened({begin, end})));
}

void Scanner::skip_integer_part() {
    const std::size_t digits_offset = offset_;
    skip_digits("a digit must follow the minus sign");
    if (text_[digits_offset] == '0' && offset_ - digits_offset > 1) {
        fail(digits_offset, "a number has no leading zeros");
    }
}

void Scanner::skip_digits(std::string_view missing_message) {
    if (!is_digit(peek())) fail(offset_, missing_message);
    while (is_digit(peek())) ++offset_;
}

/// Refuses letters and points that run on after a number, as in 0x10, 1_000, 80GB or 1.2.3.
void Scanner::refuse_number_suffix(std::size_t number_offset) {
    const char next = peek();
    if (!is_word_character(next) && next != '.') return;
    if (next == 'x' || next == 'X') fail(number_offset, "hexadecimal numbers are not JSON");
    if (next == '_') fail(offset_, "a number has no '_' between its digits");
    fail(offset_, fmt::format("unexpected {} after a number; text needs double quotes",
                              next_character_name()));
}

std::string_view Scanner::read_word() {
    const std::size_t word_offset = offset_;
    while (is_word_character(peek())) ++offset_;
    return text_.substr(word_offset, offset_ - word_offset);
}

}  // namespace isoflop::config
