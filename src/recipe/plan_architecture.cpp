#include "recipe/plan_architecture.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>
#include <variant>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/architecture_value.hpp"

namespace isoflop::recipe {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStandardInput = "-";

std::optional<FileKind> kind_of_model_file(const config::Document& document) {
    const std::optional<FileKind> kind = file_kind(document);
    return kind == FileKind::model || kind == FileKind::hugging_face ? kind : std::nullopt;
}

bool names_architecture_file(const std::string& assignment) {
    return config::split_assignment(assignment).first == kArchitecture;
}

std::optional<std::string> overriding_file(std::span<const std::string> overrides) {
    std::optional<std::string> file;
    for (const std::string& assignment : overrides) {
        if (names_architecture_file(assignment)) file = config::split_assignment(assignment).second;
    }
    return file;
}

/// A plan from standard input, a pipe or /dev/stdin has no folder.
bool has_folder(const fs::path& plan) {
    const std::string name = plan.string();
    std::error_code error;
    return fs::is_regular_file(plan, error) && !name.starts_with("/dev/") &&
           !name.starts_with("/proc/");
}

/// Relative to the folder of the plan, or else to the working folder.
fs::path path_beside(const config::Document& plan, const std::string& reference) {
    const fs::path file(plan.file_name);
    if (reference == kStandardInput || !has_folder(file)) return reference;
    return file.parent_path() / reference;
}

bool can_be_read(const fs::path& path) {
    if (path == kStandardInput) return true;
    std::error_code error;
    const fs::file_type type = fs::status(path, error).type();
    return (type == fs::file_type::regular || type == fs::file_type::fifo) &&
           access(path.c_str(), R_OK) == 0;
}

/// A file that cannot be read is a fault of the reference, and `describe` says where that is; its
/// contents are described by the file itself.
config::Document read_model_document(const fs::path& path,
                                     const std::function<std::string(std::string_view)>& describe) {
    if (path.empty())
        throw ConfigError(describe("architecture is the name of a model file; it is empty"));
    const bool readable = can_be_read(path);
    try {
        return as_model_document(config::read_jsonc_file(path));
    } catch (const ConfigError& error) {
        if (readable) throw;
        constexpr std::string_view kMark = ": error: ";
        std::string reason = error.what();
        const std::size_t mark = reason.find(kMark);
        if (mark != std::string::npos) reason.replace(mark, kMark.size(), ": ");
        throw ConfigError(describe("architecture " + reason));
    }
}

const config::Value* architecture_of(const config::Document& plan) {
    return plan.root.is_object() ? plan.root.find(kArchitecture) : nullptr;
}

/// The model file of a plan, and nullopt where the plan has the section itself.
std::optional<config::Document> referenced_document(const config::Document& plan,
                                                    std::span<const std::string> overrides) {
    if (const std::optional<std::string> file = overriding_file(overrides)) {
        if (is_inline_architecture(*file)) return architecture_document(*file);
        return read_model_document(
            *file, [](std::string_view message) { return fmt::format("override: {}", message); });
    }
    const config::Value* section = architecture_of(plan);
    if (section == nullptr || !section->is_string()) return std::nullopt;
    const std::string& reference = section->as_string();
    return read_model_document(
        reference.empty() ? fs::path() : path_beside(plan, reference),
        [&](std::string_view message) { return plan.describe(section->location(), message); });
}

/// The plan's root with another architecture, or without one.
config::Value with_architecture(const config::Value& root, const config::Value* architecture) {
    config::Value::Object sections;
    for (const config::Member& section : root.as_object()) {
        if (section.key != kArchitecture) {
            sections.push_back(section);
        } else if (architecture != nullptr) {
            sections.push_back({section.key, section.key_location, *architecture});
        }
    }
    return {std::move(sections), root.location()};
}

/// A model file as the section of a plan; values keep their places in the file.
config::Document as_section(config::Document document, const model::ReadFormat& format) {
    const config::SourceLocation place = document.root.location();
    config::Value::Object section;
    section.push_back({std::string(kArchitecture), place, format.object});
    document.root = config::Value(std::move(section), place);
    return document;
}

}  // namespace

std::vector<std::string> without_architecture_file(std::span<const std::string> overrides) {
    std::vector<std::string> kept;
    for (const std::string& assignment : overrides) {
        if (!names_architecture_file(assignment)) kept.push_back(assignment);
    }
    return kept;
}

PlanArchitecture plan_architecture(config::Document plan, std::span<const std::string> overrides,
                                   std::optional<config::Document> given) {
    PlanArchitecture result;
    result.in_place_of_the_plan = kind_of_model_file(plan);
    if (!given) given = referenced_document(plan, overrides);
    if (result.in_place_of_the_plan) {
        if (!given) given = plan;
        plan.root = config::Value(config::Value::Object{}, plan.root.location());
    }
    result.plan = std::move(plan);
    if (given) {
        result.format = model::read_format(*given, given->root);
        result.file = as_section(std::move(*given), result.format);
        if (result.plan.root.is_object())
            result.plan.root = with_architecture(result.plan.root, nullptr);
        return result;
    }
    const config::Value* section = architecture_of(result.plan);
    if (section == nullptr) {
        result.format.object = result.plan.root;
        return result;
    }
    result.format = model::read_format(result.plan, *section);
    result.plan.root = with_architecture(result.plan.root, &result.format.object);
    return result;
}

namespace {

std::string flag_of(std::string_view key) {
    return fmt::format("--{}=NUMBER", key);
}

/// What GPUs, hours and tokens still need, as flags; empty where two of them are given.
std::string missing_budget(const PlanKeys& keys) {
    const bool gpus = keys.training_gear.num_gpus.is_given();
    const bool hours = keys.training_gear.available_hours.is_given();
    const bool tokens = keys.dataset_constraints.training_tokens.is_given() ||
                        keys.scaling_law.target_loss.is_given();
    const int given = (gpus ? 1 : 0) + (hours ? 1 : 0) + (tokens ? 1 : 0);
    if (given >= 2) return {};
    std::vector<std::string> flags;
    if (!gpus) flags.push_back(flag_of("num_gpus"));
    if (!hours) flags.push_back(flag_of("available_hours"));
    if (!tokens) {
        flags.push_back(
            fmt::format("{} (or {})", flag_of("training_tokens"), flag_of("target_loss")));
    }
    const std::vector<std::string_view> names(flags.begin(), flags.end());
    return fmt::format("{} of {}", given == 0 ? "two" : "one", join(names));
}

}  // namespace

void require_flags(const PlanKeys& keys, FileKind kind, const std::string& model_file) {
    std::vector<std::string> missing;
    for (const config::Section& section : plan_schema().sections()) {
        for (const config::Field& field : section.fields) {
            if (!field.info.required) continue;
            const std::string value = config::to_text(field.get(&keys));
            if (!value.empty()) continue;
            const bool is_number =
                field.type == config::FieldType::integer || field.type == config::FieldType::number;
            missing.push_back(
                fmt::format("--{}={}", field.info.key, is_number ? "NUMBER" : "NAME"));
        }
    }
    if (missing.empty()) return;
    std::string flags = fmt::format("{}", fmt::join(missing, " "));
    if (const std::string budget = missing_budget(keys); !budget.empty())
        flags += fmt::format(", and {}", budget);
    throw ConfigError(fmt::format(
        "{}: error: this is a {}; a plan of it also needs {}; or a plan config that has them "
        "(\"architecture\" there may name this file)",
        model_file, title(kind), flags));
}

std::vector<std::string> notes_about(const PlanArchitecture& architecture,
                                     const model::ModelKeys& keys, const model::ModelConfig& config,
                                     std::span<const std::string> unknown_keys,
                                     std::optional<std::int64_t> assumed_length) {
    const model::ReadFormat& format = architecture.format;
    std::vector<std::string> notes;
    std::vector<std::string> assumed = model::assumptions(
        {.keys = keys, .config = config, .format = format.title, .notes = format.notes});
    if (assumed_length && !assumed.empty())
        assumed.push_back(fmt::format("sequence_length {}", *assumed_length));
    if (!architecture.file) {
        if (!format.title.empty()) {
            notes.push_back(fmt::format("architecture is read as a {}", format.title));
            for (const std::string& note : assumed) notes.push_back("assumed: " + note);
        }
    } else {
        const std::vector<std::string_view> words(assumed.begin(), assumed.end());
        if (!format.title.empty())
            notes.push_back(
                fmt::format("{} is read as a {}", architecture.file->file_name, format.title));
        if (!assumed.empty())
            notes.push_back(
                fmt::format("{}: assumed: {}", architecture.file->file_name, join(words, "; ")));
    }
    for (std::string& warning : model::warnings_of(keys, config, unknown_keys, format))
        notes.push_back(std::move(warning));
    return notes;
}

}  // namespace isoflop::recipe
