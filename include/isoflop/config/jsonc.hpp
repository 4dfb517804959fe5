// JSONC reader: JSON with `//` and `/* */` comments and trailing commas, where every value has its
// line and column, so that an error message names the place. Packaged JSON libraries give neither
// positions nor trailing commas; writing JSON is left to nlohmann/json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace isoflop::config {

/// 1-based line and column (column counts UTF-8 code points); line 0 = not from a file.
struct SourceLocation {
    std::uint32_t line = 0;
    std::uint32_t column = 0;
};

struct Member;

/// A parsed JSON value. Integers that fit are kept as std::int64_t, all other numbers as double.
class Value {
public:
    using Array = std::vector<Value>;
    using Object =
        std::vector<Member>;  ///< in file order; keys are unique (the reader refuses duplicates)
    using Storage =
        std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object>;

    Value();  ///< null
    Value(Storage storage, SourceLocation location);

    [[nodiscard]] bool is_null() const;
    [[nodiscard]] bool is_bool() const;
    [[nodiscard]] bool is_integer() const;  ///< written as an integer and within int64
    [[nodiscard]] bool is_number() const;   ///< integer or double
    [[nodiscard]] bool is_string() const;
    [[nodiscard]] bool is_array() const;
    [[nodiscard]] bool is_object() const;
    /// "null", "boolean", "integer", "number", "string", "array" or "object".
    [[nodiscard]] std::string_view type_name() const;

    // Typed access; throws std::bad_variant_access for another type (callers check the type first).
    [[nodiscard]] bool as_bool() const;
    [[nodiscard]] std::int64_t as_integer() const;
    [[nodiscard]] double as_number() const;  ///< integer or double
    [[nodiscard]] const std::string& as_string() const;
    [[nodiscard]] const Array& as_array() const;
    [[nodiscard]] const Object& as_object() const;

    /// Member of an object by key; nullptr when the key is absent or the value is not an object.
    [[nodiscard]] const Value* find(std::string_view key) const;

    /// Compact JSON text of this value, for messages: 3, "fp16", [1,2].
    [[nodiscard]] std::string to_text() const;

    [[nodiscard]] SourceLocation location() const { return location_; }

private:
    Storage storage_;
    SourceLocation location_;
};

struct Member {
    std::string key;
    SourceLocation key_location;
    Value value;
};

// Defined here, as the storage can be constructed only where Member is complete.
inline Value::Value() = default;

/// A parsed file together with its text, to print the offending line in errors.
struct Document {
    std::string file_name;  ///< as shown to the user
    std::string text;
    Value root;

    /// Message of the form
    ///   configs/x.jsonc:4:17: error: <message>
    ///     4 |   "num_gpus": "eight",
    ///       |               ^
    /// Long lines are cut around the column. A location with line 0 gives
    /// "<file>: error: <message>".
    [[nodiscard]] std::string describe(SourceLocation location, std::string_view message) const;
};

struct JsoncLimits {
    std::size_t max_bytes = 16U << 20U;  ///< larger input is refused before parsing
    std::size_t max_depth = 64;          ///< nesting of arrays and objects; 512 at most
};

/// Parses UTF-8 text (a leading byte order mark is skipped). Throws ConfigError with file, line,
/// column and a caret on: syntax errors, unterminated strings or comments, invalid UTF-8, invalid
/// escapes, lone surrogates, control characters in strings, numbers that are not JSON (leading
/// zeros, NaN, hex) or do not fit a double (overflow, or underflow to zero), duplicate keys,
/// nesting or size over the limits, empty input, and text after the value. `#` does not start a
/// comment; the message explains this.
[[nodiscard]] Document parse_jsonc(std::string text, std::string file_name,
                                   JsoncLimits limits = {});

/// Reads a file (also a pipe; "-" is the standard input) once. Throws ConfigError (exit 2) naming
/// the path when it is missing (with the nearest name there), a directory, unreadable or too large.
[[nodiscard]] Document read_jsonc_file(const std::filesystem::path& path, JsoncLimits limits = {});

}  // namespace isoflop::config
