// The parsed value: type queries, access and its compact text.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <iterator>
#include <utility>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/quoted_text.hpp"

namespace isoflop::config {
namespace {

/// Shortest text that reads back as the same double, and as a double: 3.0 keeps its ".0".
std::string double_text(double number) {
    std::array<char, 32> buffer{};
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
    std::string text(buffer.data(), error == std::errc() ? end : buffer.data());
    if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
    return text;
}

/// Appends the text of each alternative of a value; recursion is bounded by the reader's depth
/// limit.
struct TextWriter {
    std::string& result;

    void operator()(std::nullptr_t) const { result += "null"; }
    void operator()(bool flag) const { result += flag ? "true" : "false"; }
    void operator()(std::int64_t number) const {
        fmt::format_to(std::back_inserter(result), "{}", number);
    }
    void operator()(double number) const { result += double_text(number); }
    void operator()(const std::string& text) const { append_json_string(result, text); }
    void operator()(const Value::Array& elements) const {
        result += '[';
        for (std::size_t index = 0; index < elements.size(); ++index) {
            if (index > 0) result += ',';
            result += elements[index].to_text();
        }
        result += ']';
    }
    void operator()(const Value::Object& members) const {
        result += '{';
        for (std::size_t index = 0; index < members.size(); ++index) {
            if (index > 0) result += ',';
            append_json_string(result, members[index].key);
            result += ':';
            result += members[index].value.to_text();
        }
        result += '}';
    }
};

}  // namespace

Value::Value(Storage storage, SourceLocation location)
    : storage_(std::move(storage)), location_(location) {}

bool Value::is_null() const {
    return std::holds_alternative<std::nullptr_t>(storage_);
}
bool Value::is_bool() const {
    return std::holds_alternative<bool>(storage_);
}
bool Value::is_integer() const {
    return std::holds_alternative<std::int64_t>(storage_);
}
bool Value::is_number() const {
    return is_integer() || std::holds_alternative<double>(storage_);
}
bool Value::is_string() const {
    return std::holds_alternative<std::string>(storage_);
}
bool Value::is_array() const {
    return std::holds_alternative<Array>(storage_);
}
bool Value::is_object() const {
    return std::holds_alternative<Object>(storage_);
}

std::string_view Value::type_name() const {
    // In the order of the alternatives of Storage.
    static constexpr std::array<std::string_view, std::variant_size_v<Storage>> kNames{
        "null", "boolean", "integer", "number", "string", "array", "object"};
    return kNames[storage_.index()];
}

bool Value::as_bool() const {
    return std::get<bool>(storage_);
}

std::int64_t Value::as_integer() const {
    return std::get<std::int64_t>(storage_);
}

double Value::as_number() const {
    return is_integer() ? static_cast<double>(as_integer()) : std::get<double>(storage_);
}

const std::string& Value::as_string() const {
    return std::get<std::string>(storage_);
}

const Value::Array& Value::as_array() const {
    return std::get<Array>(storage_);
}

const Value::Object& Value::as_object() const {
    return std::get<Object>(storage_);
}

const Value* Value::find(std::string_view key) const {
    const Object* members = std::get_if<Object>(&storage_);
    if (members == nullptr) return nullptr;
    for (const Member& member : *members) {
        if (member.key == key) return &member.value;
    }
    return nullptr;
}

std::string Value::to_text() const {
    std::string result;
    std::visit(TextWriter{result}, storage_);
    return result;
}

}  // namespace isoflop::config
