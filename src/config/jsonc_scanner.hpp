// The lexical half of the JSONC reader: blanks, comments, strings, numbers and words, each checked
// completely, with an error that points at the character that is wrong.
#pragma once

#include <string>
#include <string_view>

#include "isoflop/config/jsonc.hpp"
#include "source_position.hpp"

namespace isoflop::config {

/// Walks through the text of a document. The text must be valid UTF-8 and must not change during
/// the reading.
class Scanner {
public:
    explicit Scanner(const Document& document)
        : document_(document), text_(document.text), tracker_(text_) {}

    [[nodiscard]] bool at_end() const { return offset_ == text_.size(); }
    /// The next byte; NUL at the end (a NUL in the file is never valid, so the two cannot be
    /// confused).
    [[nodiscard]] char peek() const { return at_end() ? '\0' : text_[offset_]; }
    [[nodiscard]] std::size_t offset() const { return offset_; }
    /// The text from the current offset on.
    [[nodiscard]] std::string_view rest() const { return text_.substr(offset_); }
    [[nodiscard]] SourceLocation location() { return tracker_.locate(offset_); }

    void advance() { ++offset_; }
    /// Consumes the next byte when it is `expected`.
    bool consume(char expected);
    /// Skips white space and comments.
    void skip_blanks();

    /// Reads a string from its opening to its closing quote and returns its decoded content.
    [[nodiscard]] std::string read_string();
    /// Reads a number: an std::int64_t when it is written as an integer and fits, else a double.
    [[nodiscard]] Value::Storage read_number();
    /// Reads letters, digits and underscores: null, true, false, or an unknown word.
    [[nodiscard]] std::string_view read_word();
    /// Name of the character at the current offset, which is not the end.
    [[nodiscard]] std::string next_character_name() const;

    /// Throws ConfigError with the message, the place and its line.
    [[noreturn]] void fail(std::size_t offset, std::string_view message);
    [[noreturn]] void fail(SourceLocation location, std::string_view message) const;

private:
    void skip_comment();
    [[nodiscard]] std::size_t line_end(std::size_t offset) const;
    void read_escape(std::string& result);
    [[nodiscard]] char32_t read_unicode_escape();
    [[nodiscard]] char32_t read_four_hex_digits(std::size_t escape_offset);
    [[noreturn]] void fail_in_string(std::size_t string_offset);
    void skip_integer_part();
    void skip_digits(std::string_view missing_message);
    void refuse_number_suffix(std::size_t number_offset);

    const Document& document_;
    std::string_view text_;
    LocationTracker tracker_;
    std::size_t offset_ = 0;
};

}  // namespace isoflop::config
