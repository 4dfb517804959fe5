// The grammar of JSONC: values, arrays and objects, by recursive descent over the Scanner.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/quoted_text.hpp"
#include "isoflop/config/utf8.hpp"
#include "jsonc_scanner.hpp"

namespace isoflop::config {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// Parsing, printing and destroying a value recurse once per level; this limit keeps the recursion
/// inside a small stack, for every limit of a caller.
constexpr std::size_t kDeepestNesting = 512;

/// Where an array or object began, and the character that ends it.
struct Bracket {
    std::size_t offset;
    char closing;
    std::string_view kind;
};

class Parser {
public:
    Parser(const Document& document, std::size_t max_depth)
        : scanner_(document), max_depth_(std::min(max_depth, kDeepestNesting)) {}

    [[nodiscard]] Value parse_root();

private:
    [[nodiscard]] Value parse_value(std::size_t depth);
    [[nodiscard]] Value::Array parse_array(std::size_t depth);
    [[nodiscard]] Value::Object parse_object(std::size_t depth);
    [[nodiscard]] Member parse_member(const Bracket& bracket, std::size_t depth);
    [[nodiscard]] Value::Storage parse_word();
    [[nodiscard]] Bracket open_bracket(char closing, std::string_view kind, std::size_t depth);
    [[nodiscard]] bool continues_after_item(const Bracket& bracket);
    void refuse_duplicate_keys(const Value::Object& members);

    [[noreturn]] void fail_at_key(const Bracket& bracket);
    [[noreturn]] void fail_at_value();
    [[noreturn]] void fail_unclosed(const Bracket& bracket);
    [[noreturn]] void fail_after_item(const Bracket& bracket, std::size_t item_end);

    Scanner scanner_;
    std::size_t max_depth_;
};

bool starts_word(char letter) {
    return letter == '_' || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
}

bool starts_number(char letter) {
    return letter == '-' || (letter >= '0' && letter <= '9');
}

bool is_quotation_mark(std::string_view text) {
    return text.starts_with('\'') || text.starts_with("\u2018") || text.starts_with("\u2019") ||
           text.starts_with("\u201C") || text.starts_with("\u201D");
}

Value Parser::parse_root() {
    scanner_.skip_blanks();
    if (scanner_.at_end()) scanner_.fail(0, "the file has no value (it is empty or all comments)");
    Value root = parse_value(0);
    scanner_.skip_blanks();
    if (!scanner_.at_end()) {
        scanner_.fail(scanner_.offset(), "unexpected text after the end of the value");
    }
    return root;
}

Value Parser::parse_value(std::size_t depth) {
    const SourceLocation location = scanner_.location();
    const char next = scanner_.peek();
    if (next == '{') return {parse_object(depth), location};
    if (next == '[') return {parse_array(depth), location};
    if (next == '"') return {scanner_.read_string(), location};
    if (starts_number(next)) return {scanner_.read_number(), location};
    if (starts_word(next)) return {parse_word(), location};
    fail_at_value();
}

// --- Arrays and objects ------------------------------------------------------------------------

Value::Array Parser::parse_array(std::size_t depth) {
    const Bracket bracket = open_bracket(']', "array", depth);
    Value::Array elements;
    while (!scanner_.consume(']')) {
        if (scanner_.at_end()) fail_unclosed(bracket);
        elements.push_back(parse_value(depth + 1));
        if (!continues_after_item(bracket)) break;
    }
    return elements;
}

Value::Object Parser::parse_object(std::size_t depth) {
    const Bracket bracket = open_bracket('}', "object", depth);
    Value::Object members;
    while (!scanner_.consume('}')) {
        members.push_back(parse_member(bracket, depth));
        if (!continues_after_item(bracket)) break;
    }
    refuse_duplicate_keys(members);
    return members;
}

Member Parser::parse_member(const Bracket& bracket, std::size_t depth) {
    if (scanner_.at_end()) fail_unclosed(bracket);
    if (scanner_.peek() != '"') fail_at_key(bracket);
    const SourceLocation key_location = scanner_.location();
    std::string key = scanner_.read_string();
    const std::size_t key_end = scanner_.offset();
    scanner_.skip_blanks();
    if (!scanner_.consume(':')) {
        if (scanner_.at_end()) fail_unclosed(bracket);
        scanner_.fail(key_end, fmt::format("expected ':' after the key \"{}\"", shortened(key)));
    }
    scanner_.skip_blanks();
    if (scanner_.at_end()) fail_unclosed(bracket);
    return {std::move(key), key_location, parse_value(depth + 1)};
}

Bracket Parser::open_bracket(char closing, std::string_view kind, std::size_t depth) {
    const Bracket bracket{.offset = scanner_.offset(), .closing = closing, .kind = kind};
    if (depth >= max_depth_) {
        scanner_.fail(
            bracket.offset,
            fmt::format("arrays and objects are nested deeper than {} levels", max_depth_));
    }
    scanner_.advance();
    scanner_.skip_blanks();
    return bracket;
}

/// After an item: consumes a comma (then more may follow, or the closing bracket after a trailing
/// comma) or the closing bracket (then nothing follows).
bool Parser::continues_after_item(const Bracket& bracket) {
    const std::size_t item_end = scanner_.offset();
    scanner_.skip_blanks();
    if (scanner_.consume(',')) {
        scanner_.skip_blanks();
        return true;
    }
    if (scanner_.consume(bracket.closing)) return false;
    fail_after_item(bracket, item_end);
}

void Parser::refuse_duplicate_keys(const Value::Object& members) {
    std::vector<const Member*> sorted;
    sorted.reserve(members.size());
    for (const Member& member : members) sorted.push_back(&member);
    // Equal keys keep their file order (addresses rise with it), so the second one is the
    // duplicate.
    std::sort(sorted.begin(), sorted.end(), [](const Member* a, const Member* b) {
        const int order = a->key.compare(b->key);
        return order != 0 ? order < 0 : a < b;
    });
    const auto same_key = [](const Member* a, const Member* b) { return a->key == b->key; };
    const auto duplicate = std::adjacent_find(sorted.begin(), sorted.end(), same_key);
    if (duplicate == sorted.end()) return;
    const Member& first = **duplicate;
    const Member& second = **std::next(duplicate);
    scanner_.fail(second.key_location, fmt::format("duplicate key \"{}\", already given in line {}",
                                                   shortened(first.key), first.key_location.line));
}

// --- Words -------------------------------------------------------------------------------------

Value::Storage Parser::parse_word() {
    const std::size_t offset = scanner_.offset();
    const std::string_view word = scanner_.read_word();
    if (word == "true") return true;
    if (word == "false") return false;
    if (word == "null") return nullptr;

    const std::string lower_case = to_lower(word.substr(0, 16));
    if (lower_case == "nan" || lower_case == "inf" || lower_case == "infinity") {
        scanner_.fail(offset, fmt::format("{} is not a JSON number", word));
    }
    static constexpr std::array<std::string_view, 3> kWords{"true", "false", "null"};
    const std::string hint =
        lower_case == "none" ? "; did you mean 'null'?" : suggestion(word, kWords);
    scanner_.fail(offset, fmt::format("'{}' is not a JSON value (text needs double quotes){}",
                                      shortened(word), hint));
}

// --- Errors ------------------------------------------------------------------------------------

void Parser::fail_at_value() {
    const std::size_t offset = scanner_.offset();
    if (is_quotation_mark(scanner_.rest())) {
        scanner_.fail(offset, "a string needs straight double quotes: \"text\"");
    }
    switch (scanner_.peek()) {
        case '+': scanner_.fail(offset, "a number has no leading '+'");
        case '.': scanner_.fail(offset, "a number needs a digit before its decimal point");
        case ',':
        case ']':
        case '}': scanner_.fail(offset, "a value is missing here");
        default: break;
    }
    scanner_.fail(
        offset, fmt::format("unexpected {} where a value belongs", scanner_.next_character_name()));
}

void Parser::fail_at_key(const Bracket& bracket) {
    const std::size_t offset = scanner_.offset();
    const char next = scanner_.peek();
    if (starts_word(next)) {
        scanner_.fail(offset, fmt::format("a key needs double quotes: \"{}\"",
                                          shortened(scanner_.read_word())));
    }
    if (is_quotation_mark(scanner_.rest())) {
        scanner_.fail(offset, "a key needs straight double quotes: \"key\"");
    }
    scanner_.fail(offset, fmt::format("expected a key in double quotes or '{}', found {}",
                                      bracket.closing, scanner_.next_character_name()));
}

void Parser::fail_unclosed(const Bracket& bracket) {
    scanner_.fail(bracket.offset, fmt::format("this {} is never closed; '{}' is missing",
                                              bracket.kind, bracket.closing));
}

void Parser::fail_after_item(const Bracket& bracket, std::size_t item_end) {
    if (scanner_.at_end()) fail_unclosed(bracket);
    const char next = scanner_.peek();
    const bool item_follows =
        next == '"' || next == '{' || next == '[' || starts_number(next) || starts_word(next);
    // The missing comma belongs after the item, often one line above the character that shows the
    // error.
    if (item_follows) scanner_.fail(item_end, "a comma is missing here");
    scanner_.fail(scanner_.offset(),
                  fmt::format("expected ',' or '{}' in this {}, found {}", bracket.closing,
                              bracket.kind, scanner_.next_character_name()));
}

// --- The text as a whole -----------------------------------------------------------------------

/// UTF-16 and UTF-32 files, with or without byte order mark, as some Windows editors write them: in
/// them, every ASCII character comes with a NUL byte.
bool is_wide_encoding(std::string_view text) {
    if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) return true;
    if (text.size() < 4) return false;
    const bool little_endian = text[0] != '\0' && text[1] == '\0' && text[3] == '\0';
    const bool big_endian = text[0] == '\0' && text[2] == '\0' && text[3] != '\0';
    return little_endian || big_endian;
}

void refuse_other_encodings(const Document& document) {
    const std::string_view text = document.text;
    if (is_wide_encoding(text)) {
        throw ConfigError(document.describe({.line = 1, .column = 1},
                                            "the file is UTF-16 or UTF-32; save it as UTF-8"));
    }
    const std::size_t invalid = find_invalid_utf8(text);
    if (invalid == text.size()) return;
    const auto byte = static_cast<unsigned char>(text[invalid]);
    throw ConfigError(document.describe(LocationTracker(text).locate(invalid),
                                        fmt::format("byte 0x{:02X} is not valid UTF-8", byte)));
}

}  // namespace

Document parse_jsonc(std::string text, std::string file_name, JsoncLimits limits) {
    Document document{.file_name = std::move(file_name), .text = std::move(text), .root = {}};
    if (document.text.size() > limits.max_bytes) {
        throw ConfigError(
            document.describe({}, fmt::format("the text has {} bytes; the limit is {}",
                                              document.text.size(), limits.max_bytes)));
    }
    if (document.text.starts_with(kByteOrderMark)) document.text.erase(0, kByteOrderMark.size());
    refuse_other_encodings(document);
    document.root = Parser(document, limits.max_depth).parse_root();
    return document;
}

}  // namespace isoflop::config
