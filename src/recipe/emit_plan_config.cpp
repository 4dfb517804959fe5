#include "isoflop/recipe/emit_plan_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "commented_lines.hpp"
#include "isoflop/model/model_format.hpp"

namespace isoflop::recipe {
namespace {

/// Written even with their default value: a reader of the file looks for them.
constexpr std::array<std::string_view, 9> kDefiningKeys = {
    "dtype",         "flop_convention", "batch_size", "gradient_accumulation_steps",
    "parallelism",   "recompute",       "max_epochs", "base",
    "show_breakdown"};

std::string json_text(const config::FieldValue& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return nlohmann::json(*text).dump();
    return config::to_text(value);
}

bool is_written(const config::Field& field, const PlanKeys& keys, const PlanKeys& defaults) {
    if (field.info.ignored) return false;
    const config::FieldValue value = field.get(&keys);
    if (std::holds_alternative<std::monostate>(value)) return false;
    const bool defining = std::find(kDefiningKeys.begin(), kDefiningKeys.end(), field.info.key) !=
                          kDefiningKeys.end();
    return field.info.required || defining || json_text(value) != json_text(field.get(&defaults));
}

std::string_view type_of(const PlanKeys& keys) {
    return keys.architecture.model_type ? std::string_view(*keys.architecture.model_type)
                                        : std::string_view();
}

/// The keys of a section, a line each.
std::string section_text(const config::Section& section, const PlanKeys& keys,
                         std::span<const KeyComment> comments) {
    const PlanKeys defaults;
    std::vector<const config::Field*> written;
    for (const config::Field& field : section.fields) {
        if (is_written(field, keys, defaults)) written.push_back(&field);
    }
    std::string text;
    for (const config::Field* field : written) {
        const std::string_view key = section.name == kArchitecture
                                         ? model::spelling_of(type_of(keys), *field)
                                         : field->info.key;
        const std::string code = fmt::format(R"("{}": {}{})", key, json_text(field->get(&keys)),
                                             field == written.back() ? "" : ",");
        const auto comment =
            std::find_if(comments.begin(), comments.end(), [&](const KeyComment& each) {
                return each.key == field->info.key && !each.text.empty();
            });
        text += commented_line(code, comment == comments.end() ? std::string() : comment->text, 4);
    }
    return text;
}

}  // namespace

std::string plan_config_text(const PlanKeys& keys, std::span<const std::string> heading,
                             std::span<const KeyComment> comments) {
    std::string text = heading_lines(heading);
    text += "{";
    std::string_view separator = "\n";
    for (const config::Section& section : plan_schema().sections()) {
        const std::string lines = section_text(section, keys, comments);
        if (lines.empty()) continue;
        text += fmt::format("{}{}  \"{}\": {{\n{}  }}", separator, comment_lines(section.help, 2),
                            section.name, lines);
        separator = ",\n\n";
    }
    return text + "\n}\n";
}

}  // namespace isoflop::recipe
