// Texts derived from the field table: `--help`, docs/configuration.md and the JSON Schema.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/config/schema.hpp"

namespace isoflop::config {
namespace {

std::string_view type_word(const Field& field) {
    switch (field.type) {
        case FieldType::boolean: return "boolean";
        case FieldType::integer: return "integer";
        case FieldType::number: return "number";
        case FieldType::text: return "string";
        case FieldType::choice: return "choice";
        case FieldType::any: return "any";
    }
    return "?";
}

/// "integer", or "integer or "solve"" of a key that may be asked for.
std::string forms_of(const Field& field) {
    return field.solvable ? fmt::format("{} or \"{}\"", type_word(field), kSolve)
                          : std::string(type_word(field));
}

std::string default_of(const Field& field, const void* defaults) {
    if (!field.info.default_help.empty()) return std::string(field.info.default_help);
    if (field.info.required) return "required";
    const std::string text = to_text(field.get(defaults));
    return text.empty() ? "not set" : text;
}

std::string bounds_of(const FieldInfo& info) {
    std::string text;
    if (std::isfinite(info.minimum)) {
        text += fmt::format("{} {}", info.exclusive_minimum ? ">" : ">=", info.minimum);
    }
    if (std::isfinite(info.maximum)) {
        text += fmt::format("{}<= {}", text.empty() ? "" : ", ", info.maximum);
    }
    return text;
}

/// "allowed values or range" of a field; empty when every value of the type is allowed.
std::string allowed_of(const Field& field) {
    std::string text =
        field.type == FieldType::choice ? join(field.allowed) : bounds_of(field.info);
    if (field.solvable) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", or ", kSolve);
    return text;
}

std::string title_of(const Section& section) {
    if (!section.title.empty()) return section.title;
    return section.name.empty() ? std::string("(top level)") : section.name;
}

/// A paragraph in lines of at most 100 columns, each with its end.
std::string wrapped(std::string_view text) {
    constexpr std::size_t kWidth = 100;
    std::string lines;
    while (text.size() > kWidth) {
        const std::size_t space = text.rfind(' ', kWidth);
        if (space == std::string_view::npos) break;
        lines += fmt::format("{}\n", text.substr(0, space));
        text.remove_prefix(space + 1);
    }
    return lines + fmt::format("{}\n", text);
}

/// A table cell must not end the cell early.
std::string escape_cell(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '|') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

nlohmann::ordered_json type_of(const Field& field) {
    std::string name;
    switch (field.type) {
        case FieldType::boolean: name = "boolean"; break;
        case FieldType::integer: name = "integer"; break;
        case FieldType::number: name = "number"; break;
        case FieldType::text:
        case FieldType::choice: name = "string"; break;
        case FieldType::any: return nullptr;
    }
    if (!field.nullable) return name;
    return nlohmann::ordered_json::array({name, "null"});
}

/// Type, choices and bounds of the values of a field.
nlohmann::ordered_json values_of(const Field& field) {
    nlohmann::ordered_json values = nlohmann::ordered_json::object();
    const FieldInfo& info = field.info;
    if (const auto type = type_of(field); !type.is_null()) values["type"] = type;
    if (field.type == FieldType::choice) {
        values["enum"] = field.allowed;
        if (field.nullable) values["enum"].push_back(nullptr);
    }
    if (std::isfinite(info.minimum)) {
        values[info.exclusive_minimum ? "exclusiveMinimum" : "minimum"] = info.minimum;
    }
    if (std::isfinite(info.maximum)) values["maximum"] = info.maximum;
    return values;
}

nlohmann::ordered_json property_of(const Field& field, const void* defaults) {
    nlohmann::ordered_json property;
    const FieldInfo& info = field.info;
    property["description"] = info.unit.empty() ? std::string(info.help)
                                                : fmt::format("{} Unit: {}.", info.help, info.unit);
    if (field.solvable) {
        const nlohmann::ordered_json asked = {{"const", kSolve}};
        property["anyOf"] = nlohmann::ordered_json::array({values_of(field), asked});
    } else {
        property.update(values_of(field));
    }
    std::visit(
        [&](const auto& value) {
            using V = std::decay_t<decltype(value)>;
            if constexpr (!std::is_same_v<V, std::monostate> && !std::is_same_v<V, Value>) {
                if (!info.required) property["default"] = value;
            }
        },
        field.get(defaults));
    return property;
}

nlohmann::ordered_json object_of(const Section& section, const void* defaults) {
    nlohmann::ordered_json object;
    object["type"] = "object";
    object["description"] = section.help;
    auto& properties = object["properties"] = nlohmann::ordered_json::object();
    auto required = nlohmann::ordered_json::array();
    for (const Field& field : section.fields) {
        properties[std::string(field.info.key)] = property_of(field, defaults);
        for (const std::string_view alias : field.info.aliases) {
            nlohmann::ordered_json property = property_of(field, defaults);
            property["description"] = fmt::format("Alias of {}.", field.info.key);
            properties[std::string(alias)] = std::move(property);
        }
        // An alias satisfies a required key, which JSON Schema's `required` cannot say.
        if (field.info.required && field.info.aliases.empty()) {
            required.push_back(std::string(field.info.key));
        }
    }
    if (!required.empty()) object["required"] = required;
    object["additionalProperties"] = section.tolerates_unknown_keys;
    return object;
}

/// What a section describes, and that it may be a file.
std::string help_of(const Section& section) {
    return section.file_help.empty() ? section.help
                                     : fmt::format("{} {}", section.help, section.file_help);
}

/// A section that may also be the name of a file. Keywords of objects do not constrain strings.
nlohmann::ordered_json section_of(const Section& section, const void* defaults) {
    nlohmann::ordered_json object = object_of(section, defaults);
    if (section.file_help.empty()) return object;
    object["type"] = nlohmann::ordered_json::array({"object", "string"});
    object["description"] = help_of(section);
    object["minLength"] = 1;
    return object;
}

}  // namespace

std::string to_text(const FieldValue& value) {
    struct Writer {
        std::string operator()(std::monostate) const { return {}; }
        std::string operator()(bool flag) const { return flag ? "true" : "false"; }
        std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{}", number); }
        std::string operator()(const std::string& text) const { return text; }
        std::string operator()(const Value& any) const {
            return any.is_null() ? "" : any.to_text();
        }
    };
    return std::visit(Writer{}, value);
}

std::string help_text(const SchemaBase& schema, const void* defaults) {
    std::string text;
    for (const Section& section : schema.sections()) {
        text += fmt::format("{}: {}\n", title_of(section), help_of(section));
        for (const Field& field : section.fields) {
            if (field.info.ignored) continue;
            const std::string allowed = allowed_of(field);
            text += fmt::format(
                "  {:<32} {:<8} {}{}\n", field.info.key, type_word(field), field.info.help,
                field.info.unit.empty() ? "" : fmt::format(" [{}]", field.info.unit));
            text +=
                fmt::format("  {:<32} {:<8} default: {}{}\n", "", "", default_of(field, defaults),
                            allowed.empty() ? "" : "; allowed: " + allowed);
            if (!field.info.aliases.empty()) {
                text += fmt::format("  {:<32} {:<8} also: {}\n", "", "", join(field.info.aliases));
            }
        }
        text += '\n';
    }
    return text;
}

std::string markdown(const SchemaBase& schema, const void* defaults) {
    std::string text = fmt::format("## {}\n\n{}\n", schema.name(), schema.help());
    for (const Section& section : schema.sections()) {
        text += fmt::format("\n### {}\n\n{}\n", title_of(section), wrapped(help_of(section)));
        text += "| key | type | unit | default | allowed | meaning |\n|---|---|---|---|---|---|\n";
        std::vector<std::string_view> ignored;
        for (const Field& field : section.fields) {
            if (field.info.ignored) {
                ignored.push_back(field.info.key);
                continue;
            }
            std::string help(field.info.help);
            if (!field.info.aliases.empty()) help += " Also: " + join(field.info.aliases) + ".";
            text +=
                fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", field.info.key, forms_of(field),
                            field.info.unit, escape_cell(default_of(field, defaults)),
                            escape_cell(allowed_of(field)), escape_cell(help));
        }
        if (!ignored.empty())
            text += "\n" + wrapped("Accepted without effect: " + join(ignored) + ".");
    }
    return text;
}

std::string json_schema(const SchemaBase& schema, const void* defaults) {
    nlohmann::ordered_json root;
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema";
    root["title"] = fmt::format("Isoflop {} config", schema.name());
    root["description"] = schema.help();
    const auto& sections = schema.sections();
    if (!sections.empty() && sections.front().name.empty()) {
        root["type"] = "object";
        root["properties"] = nlohmann::ordered_json::object();
        root["additionalProperties"] = sections.front().tolerates_unknown_keys;
        for (const Section& section : sections) {
            const nlohmann::ordered_json group = object_of(section, defaults);
            root["properties"].update(group["properties"]);
            if (group.contains("required")) {
                for (const auto& key : group["required"]) root["required"].push_back(key);
            }
        }
    } else {
        root["type"] = "object";
        auto required = nlohmann::ordered_json::array();
        for (const Section& section : sections) {
            root["properties"][section.name] = section_of(section, defaults);
            if (section.required == Required::yes) required.push_back(section.name);
        }
        root["required"] = required;
        root["additionalProperties"] = false;
    }
    root["properties"]["$schema"] = {{"type", "string"}};
    return root.dump(2) + "\n";
}

}  // namespace isoflop::config
