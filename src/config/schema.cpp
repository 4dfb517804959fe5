// Reading values through the field table: type, range and spelling checks, with messages that say
// where.
#include "isoflop/config/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::config {
namespace {

std::string dotted(std::string_view section, std::string_view key) {
    return section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
}

std::string range_text(const FieldInfo& info) {
    const bool has_minimum = std::isfinite(info.minimum);
    const bool has_maximum = std::isfinite(info.maximum);
    const std::string_view at_least = info.exclusive_minimum ? "> " : ">= ";
    if (has_minimum && has_maximum) {
        return fmt::format(" {}{} and <= {}", at_least, info.minimum, info.maximum);
    }
    if (has_minimum) return fmt::format(" {}{}", at_least, info.minimum);
    if (has_maximum) return fmt::format(" <= {}", info.maximum);
    return {};
}

std::string values_text(const Field& field) {
    switch (field.type) {
        case FieldType::boolean: return "true or false";
        case FieldType::integer: return "an integer" + range_text(field.info);
        case FieldType::number: return "a number" + range_text(field.info);
        case FieldType::text: return "a string";
        case FieldType::choice: return "one of " + join(field.allowed);
        case FieldType::any: return "a value";
    }
    return {};
}

/// "an integer >= 1", "one of float32, bfloat16": the allowed values of a field, for messages.
std::string expectation(const Field& field) {
    const std::string values = values_text(field);
    return field.solvable ? fmt::format("{}, or \"{}\"", values, kSolve) : values;
}

bool in_range(const FieldInfo& info, double value) {
    if (!std::isfinite(value) || value > info.maximum) return false;
    return info.exclusive_minimum ? value > info.minimum : value >= info.minimum;
}

/// Token counts are written as 1e12: a double that is a whole number is accepted as an integer.
std::optional<std::int64_t> as_whole_number(const Value& value) {
    if (value.is_integer()) return value.as_integer();
    constexpr double kExact =
        9007199254740992.0;  // 2^53: beyond it a double no longer names one integer
    if (value.is_number() && std::abs(value.as_number()) <= kExact &&
        value.as_number() == std::floor(value.as_number())) {
        return static_cast<std::int64_t>(value.as_number());
    }
    return std::nullopt;
}

/// Converts a parsed value for the field; nullopt when type or range do not fit.
std::optional<FieldValue> convert(const Field& field, const Value& value) {
    if (value.is_null() && field.nullable) return FieldValue{};
    if (field.solvable && value.is_string() && value.as_string() == kSolve)
        return FieldValue{std::string(kSolve)};
    switch (field.type) {
        case FieldType::boolean:
            if (value.is_bool()) return FieldValue{value.as_bool()};
            return std::nullopt;
        case FieldType::integer: {
            const auto whole = as_whole_number(value);
            if (whole && in_range(field.info, static_cast<double>(*whole)))
                return FieldValue{*whole};
            return std::nullopt;
        }
        case FieldType::number:
            if (value.is_number() && in_range(field.info, value.as_number())) {
                return FieldValue{value.as_number()};
            }
            return std::nullopt;
        case FieldType::text:
            if (value.is_string()) return FieldValue{value.as_string()};
            return std::nullopt;
        case FieldType::choice:
            if (value.is_string() && std::find(field.allowed.begin(), field.allowed.end(),
                                               value.as_string()) != field.allowed.end()) {
                return FieldValue{value.as_string()};
            }
            return std::nullopt;
        case FieldType::any: return FieldValue{value};
    }
    return std::nullopt;
}

bool is_digit(char letter) {
    return letter >= '0' && letter <= '9';
}

/// "300B" and "45%": figures with a unit, which keys do not take.
std::string quantity_hint(const Field& field, const Value& value) {
    const bool takes_numbers = field.type == FieldType::integer || field.type == FieldType::number;
    if (!takes_numbers || !value.is_string()) return {};
    const std::string& text = value.as_string();
    const std::size_t end = text.find_first_not_of("0123456789.");
    if (end == 0 || end == std::string::npos) return {};
    const std::string_view digits = std::string_view(text).substr(0, end);
    std::string_view unit = std::string_view(text).substr(end);
    while (unit.starts_with(' ')) unit.remove_prefix(1);
    constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kUnits = {
        {{"k", "e3"},
         {"K", "e3"},
         {"M", "e6"},
         {"B", "e9"},
         {"b", "e9"},
         {"G", "e9"},
         {"T", "e12"},
         {"%", "e-2"}}};
    for (const auto& [name, power] : kUnits) {
        if (unit == name) return fmt::format("; write {}{}", digits, power);
    }
    return {};
}

std::string refusal(const Field& field, std::string_view path, const Value& value) {
    std::string message =
        fmt::format("{} must be {}; found {}", path, expectation(field), value.to_text());
    if (field.type == FieldType::choice && value.is_string()) {
        message += suggestion(value.as_string(), field.allowed);
    }
    if (field.solvable && value.is_string()) {
        const std::string_view only[] = {kSolve};
        message += suggestion(value.as_string(), only);
    }
    message += quantity_hint(field, value);
    const bool is_figure = value.is_number() || (value.is_string() && !value.as_string().empty() &&
                                                 is_digit(value.as_string().front()));
    return is_figure && !field.info.range_help.empty()
               ? fmt::format("{} ({})", message, field.info.range_help)
               : message;
}

std::vector<std::string_view> spellings(std::span<const Section* const> sections) {
    std::vector<std::string_view> names;
    for (const Section* section : sections) {
        for (const Field& field : section->fields) {
            names.push_back(field.info.key);
            names.insert(names.end(), field.info.aliases.begin(), field.info.aliases.end());
        }
    }
    return names;
}

/// A key and its alias may both be given, as 10000 and 10000.0 or one of them as null.
bool same_value(const Value& a, const Value& b) {
    if (a.is_null()) return true;
    if (a.is_number() && b.is_number()) return a.as_number() == b.as_number();
    return a.to_text() == b.to_text();
}

}  // namespace

const Field* Section::find(std::string_view key) const {
    for (const Field& field : fields) {
        if (field.info.key == key) return &field;
    }
    for (const Field& field : fields) {
        for (const std::string_view alias : field.info.aliases) {
            if (alias == key) return &field;
        }
    }
    return nullptr;
}

SchemaBase::SchemaBase(std::string name, std::string help)
    : name_(std::move(name)), help_(std::move(help)) {}

Section& SchemaBase::add_section(std::string name, std::string help, Required required) {
    sections_.push_back({.name = std::move(name), .help = std::move(help), .required = required});
    return sections_.back();
}

std::vector<std::string> SchemaBase::paths() const {
    std::vector<std::string> paths;
    for (const Section& section : sections_) {
        for (const Field& field : section.fields)
            paths.push_back(dotted(section.name, field.info.key));
    }
    return paths;
}

std::vector<SchemaBase::Place> SchemaBase::places(std::string_view key) const {
    std::vector<Place> found;
    for (const Section& section : sections_) {
        const std::size_t length = section.name.size();
        const bool qualified = length > 0 && key.size() > length && key[length] == '.' &&
                               key.substr(0, length) == section.name;
        const Field* field = section.find(qualified ? key.substr(length + 1) : key);
        if (field == nullptr) continue;
        if (qualified) return {{&section, field}};
        found.push_back({&section, field});
    }
    // A key that is only tolerated in one section does not make it ambiguous in another.
    const auto has_effect = [](const Place& place) { return !place.field->info.ignored; };
    if (std::any_of(found.begin(), found.end(), has_effect)) {
        std::erase_if(found, [&](const Place& place) { return !has_effect(place); });
    }
    return found;
}

std::optional<std::string> SchemaBase::resolve_path(std::string_view key) const {
    const std::vector<Place> found = places(key);
    if (found.size() != 1) return std::nullopt;
    return dotted(found.front().section->name, found.front().field->info.key);
}

SchemaBase::Place SchemaBase::locate(std::string_view key) const {
    const std::vector<Place> found = places(key);
    if (found.size() == 1) return found.front();
    if (!found.empty()) {
        std::string choices;
        for (const Place& place : found) {
            choices += fmt::format("{}{}", choices.empty() ? "" : " or ",
                                   dotted(place.section->name, place.field->info.key));
        }
        throw ConfigError(fmt::format("key '{}' is in several sections; write {}", key, choices));
    }
    const std::vector<std::string> known = paths();
    std::vector<std::string_view> candidates(known.begin(), known.end());
    for (const Section& section : sections_) {
        const Section* const only[] = {&section};
        for (const std::string_view name : spellings(only)) candidates.push_back(name);
    }
    throw ConfigError(fmt::format("unknown key '{}'{}", key, suggestion(key, candidates)));
}

void SchemaBase::read_keys(std::span<const Section* const> sections, void* target,
                           const Document& document, const Value& object, ReadNotes* notes) const {
    std::vector<std::pair<const Field*, const Member*>> seen;
    const Section& first = *sections.front();
    for (const Member& member : object.as_object()) {
        if (member.key == "$schema") continue;  // for editors
        const Field* field = nullptr;
        for (const Section* section : sections) {
            // A key that one section ignores may have an effect in another.
            const Field* const found = section->find(member.key);
            if (found != nullptr && (field == nullptr || field->info.ignored)) field = found;
        }
        const std::string path = dotted(first.name, member.key);
        if (field == nullptr) {
            if (first.tolerates_unknown_keys) {
                if (notes != nullptr) notes->unknown_keys.push_back(path);
                continue;
            }
            const auto names = spellings(sections);
            const std::string hint = suggestion(member.key, names);
            throw ConfigError(document.describe(
                member.key_location,
                fmt::format("unknown key '{}'{}", path,
                            hint.empty() ? "; known keys: " + join(names) : hint)));
        }
        const auto earlier = std::find_if(seen.begin(), seen.end(),
                                          [&](const auto& entry) { return entry.first == field; });
        if (earlier != seen.end() && member.value.is_null() && field->nullable) continue;
        if (earlier != seen.end() && !same_value(earlier->second->value, member.value)) {
            throw ConfigError(document.describe(
                member.key_location,
                fmt::format("'{}' and '{}' are the same key with different values ({} and {})",
                            earlier->second->key, member.key, earlier->second->value.to_text(),
                            member.value.to_text())));
        }
        seen.emplace_back(field, &member);
        const std::optional<FieldValue> value = convert(*field, member.value);
        if (!value) {
            throw ConfigError(
                document.describe(member.value.location(), refusal(*field, path, member.value)));
        }
        field->set(target, *value);
    }
}

void SchemaBase::read_into(void* target, const Document& document, const Value& object,
                           ReadNotes* notes) const {
    if (!object.is_object()) {
        throw ConfigError(document.describe(
            object.location(), fmt::format("a {} config is an object {{ ... }}; found {}", name_,
                                           object.type_name())));
    }
    if (!sections_.empty() && sections_.front().name.empty()) {
        std::vector<const Section*> groups;
        for (const Section& section : sections_) groups.push_back(&section);
        read_keys(groups, target, document, object, notes);
        return;
    }
    std::vector<std::string_view> names;
    for (const Section& section : sections_) names.push_back(section.name);
    for (const Member& member : object.as_object()) {
        if (member.key == "$schema") continue;  // for editors
        const auto section =
            std::find_if(sections_.begin(), sections_.end(),
                         [&](const Section& candidate) { return candidate.name == member.key; });
        if (section == sections_.end()) {
            throw ConfigError(
                document.describe(member.key_location,
                                  fmt::format("unknown section '{}'{}; sections are {}", member.key,
                                              suggestion(member.key, names), join(names))));
        }
        if (!member.value.is_object()) {
            throw ConfigError(document.describe(
                member.value.location(),
                fmt::format("section '{}' is an object {{ ... }}{}; found {}", member.key,
                            section->file_help.empty() ? "" : " or a file name",
                            member.value.type_name())));
        }
        const Section* const only[] = {&*section};
        read_keys(only, target, document, member.value, notes);
    }
}

namespace {

/// Command lines for Python trainers use the spelling of Python.
std::string_view without_python_words(std::string_view text) {
    if (text == "True") return "true";
    if (text == "False") return "false";
    if (text == "None") return "null";
    return text;
}

}  // namespace

Assignment SchemaBase::parse_assignment(std::string_view key, std::string_view text) const {
    const auto [section, field] = locate(key);
    const std::string full_path = dotted(section->name, field->info.key);
    Value value(std::string(text), {});
    if (field->type != FieldType::text && field->type != FieldType::choice) {
        try {
            value = parse_jsonc(std::string(without_python_words(text)), full_path).root;
        } catch (const ConfigError&) {
            // Not JSON: the value stays a string, and the type check below reports the error.
        }
    }
    if (text == "null") value = Value(nullptr, {});
    std::optional<FieldValue> converted = convert(*field, value);
    if (!converted) throw ConfigError("override: " + refusal(*field, full_path, value));
    return {field, std::move(*converted)};
}

void SchemaBase::require_complete(const void* target, const Document& document) const {
    for (const Section& section : sections_) {
        const Value* object =
            section.name.empty() ? &document.root : document.root.find(section.name);
        const SourceLocation location =
            object != nullptr ? object->location() : document.root.location();
        for (const Field& field : section.fields) {
            if (!field.info.required) continue;
            const FieldValue value = field.get(target);
            const bool unset = std::holds_alternative<std::monostate>(value) ||
                               (std::holds_alternative<std::string>(value) &&
                                std::get<std::string>(value).empty());
            if (!unset) continue;
            throw ConfigError(document.describe(
                location,
                fmt::format("missing key '{}': {} ({})", dotted(section.name, field.info.key),
                            field.info.help, expectation(field))));
        }
    }
}

FieldValue SchemaBase::get(const void* target, std::string_view path) const {
    return locate(path).field->get(target);
}

std::pair<std::string, std::string> split_assignment(std::string_view assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string_view::npos || equals == 0) {
        throw ConfigError(fmt::format("'{}' is not of the form key=value", assignment));
    }
    return {std::string(assignment.substr(0, equals)), std::string(assignment.substr(equals + 1))};
}

}  // namespace isoflop::config
