// Model files: parsing, overrides, and errors that point at the key.
#include "isoflop/model/model_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "families.hpp"
#include "foreign_keys.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_format.hpp"
#include "unknown_keys.hpp"

namespace isoflop::model {
namespace {

/// The keys of a model section with their aliases.
const config::Section& model_section() {
    return model_schema().sections().front();
}

std::vector<std::string_view> known_keys(const config::SchemaBase& schema) {
    std::vector<std::string_view> names;
    for (const config::Section& section : schema.sections()) {
        for (const config::Field& field : section.fields) {
            names.push_back(field.info.key);
            names.insert(names.end(), field.info.aliases.begin(), field.info.aliases.end());
        }
    }
    return names;
}

/// Where `object` has this key, under any of its names; else the object itself (as for an
/// override).
config::SourceLocation location_of(const config::Value& object, std::string_view key) {
    const config::Field* wanted = model_section().find(key);
    if (object.is_object() && wanted != nullptr) {
        for (const config::Member& member : object.as_object()) {
            if (model_section().find(member.key) == wanted) return member.value.location();
        }
    }
    // Keys of one class are an object of their own.
    const config::Value* of_class = object.is_object() ? object.find("class_keys") : nullptr;
    const config::Value* value =
        of_class != nullptr && of_class->is_object() ? of_class->find(key) : nullptr;
    return value != nullptr ? value->location() : object.location();
}

std::string_view positional_name(PositionEncoding encoding) {
    switch (encoding) {
        case PositionEncoding::rope: return "RoPE";
        case PositionEncoding::learned_absolute: return "AbsPos";
        case PositionEncoding::alibi: return "ALiBi";
        case PositionEncoding::none: return "NoPos";
    }
    return "?";
}

std::string_view normalization_name(Normalization normalization) {
    switch (normalization) {
        case Normalization::rmsnorm: return "RMS";
        case Normalization::layernorm: return "LN";
        case Normalization::layernorm_nobias: return "LN-NB";
    }
    return "?";
}

std::string_view norm_position_name(NormPosition position) {
    switch (position) {
        case NormPosition::pre: return "PreNorm";
        case NormPosition::post: return "PostNorm";
        case NormPosition::sandwich: return "SandwichNorm";
    }
    return "?";
}

std::string_view ffn_name(const ModelConfig& config) {
    const bool gated = config.is_gated();
    switch (config.activation) {
        case Activation::silu: return gated ? "SwiGLU" : "SILU";
        case Activation::gelu:
        case Activation::gelu_tanh: return gated ? "GeGLU" : "GELU";
        case Activation::relu: return gated ? "ReGLU" : "RELU";
        case Activation::leaky_relu: return gated ? "LeakyReGLU" : "LEAKY_RELU";
        case Activation::relu_squared: return gated ? "ReGLU2" : "RELU2";
    }
    return "?";
}

/// A file of a known type that is more than its type.
void refuse_unmodelled_keys(const ModelKeys& keys, const config::Document& document,
                            const config::Value& object) {
    if (!keys.model_type || find_family(*keys.model_type) == nullptr || !object.is_object()) return;
    for (const config::Member& member : object.as_object()) {
        const bool known = model_section().find(member.key) != nullptr;
        if (known || !names_unmodelled_part(member.key, member.value)) continue;
        throw ConfigError(document.describe(
            member.key_location,
            fmt::format("'{}' changes the layers of a {} model in a way that is not known here, "
                        "and the class of that type does not read it; found {}. Remove the key to "
                        "plan the class as it is",
                        printable(member.key), *keys.model_type,
                        printable(member.value.to_text()))));
    }
}

}  // namespace

void refuse_unknown_keys(const config::SchemaBase& schema, const config::ReadNotes& notes,
                         const config::Document& document, const config::Value& object) {
    if (!object.is_object()) return;
    constexpr std::size_t kMostListed = 64;
    const std::vector<std::string_view> known = known_keys(schema);
    const UnknownKeys unknown_keys(notes.unknown_keys);
    const config::Member* first = nullptr;
    std::vector<std::string> unknown;
    std::size_t not_listed = 0;
    for (const config::Member& member : object.as_object()) {
        if (!unknown_keys.contains(member.key)) continue;
        if (first == nullptr) first = &member;
        if (unknown.size() == kMostListed) {
            ++not_listed;
            continue;
        }
        const std::string_view ours = our_name_of(member.key);
        const std::string hint =
            ours.empty()
                ? suggestion(member.key, known)
                : fmt::format("; the key is '{}' here{}", ours,
                              is_opposite_of_ours(member.key) ? ", with the opposite value" : "");
        unknown.push_back(fmt::format("'{}'{}", member.key, hint));
    }
    if (first == nullptr) return;
    std::string message = fmt::format("unknown key {}", unknown.front());
    if (unknown.size() > 1) {
        message = fmt::format("{} unknown keys:", unknown.size() + not_listed);
        for (const std::string& line : unknown) message += "\n  " + line;
        if (not_listed > 0) message += fmt::format("\n  and {} more", not_listed);
    }
    throw ConfigError(document.describe(first->key_location, message));
}

void refuse_unknown_keys(const config::SchemaBase& schema, const config::Document& document,
                         const config::Value& object) {
    const auto has_value = [&](std::string_view key) {
        const config::Value* value = object.find(key);
        return value != nullptr && !value->is_null();
    };
    if (!object.is_object() || has_value("model_type") || has_value("architectures")) return;
    const std::vector<std::string_view> names = known_keys(schema);
    const std::unordered_set<std::string_view> known(names.begin(), names.end());
    config::ReadNotes notes;
    for (const config::Member& member : object.as_object()) {
        if (member.key != "$schema" && !known.contains(member.key))
            notes.unknown_keys.push_back(member.key);
    }
    refuse_unknown_keys(schema, notes, document, object);
}

ModelConfig resolve_at(const ModelKeys& keys, const config::Document& document,
                       const config::Value& object) {
    refuse_unmodelled_keys(keys, document, object);
    try {
        return resolve(keys);
    } catch (const ModelKeyError& error) {
        const config::SourceLocation location = location_of(object, error.key());
        throw ModelKeyError(error.key(), document.describe(location, error.what()));
    }
}

ModelDescription read_model(const config::Document& document,
                            std::span<const std::string> overrides) {
    ReadFormat format = read_format(document, document.root);
    ModelFile file;
    config::ReadNotes notes;
    try {
        model_schema().read(file, document, format.object, &notes);
    } catch (const ConfigError&) {
        refuse_unknown_keys(model_schema(), document, format.object);
        throw;
    }
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        model_schema().set(file, key, value);
    }
    // Files of transformers hold many more keys, and some that resemble ours.
    if (!file.keys.is_hugging_face())
        refuse_unknown_keys(model_schema(), notes, document, format.object);
    ModelConfig config = resolve_at(file.keys, document, format.object);
    std::vector<std::string> warnings = warnings_of(file.keys, config, notes.unknown_keys, format);
    return {.keys = std::move(file.keys),
            .config = std::move(config),
            .unknown_keys = std::move(notes.unknown_keys),
            .format = format.title,
            .notes = std::move(format.notes),
            .warnings = std::move(warnings)};
}

ModelDescription read_model_file(const std::filesystem::path& path,
                                 std::span<const std::string> overrides) {
    return read_model(config::read_jsonc_file(path), overrides);
}

ModelDescription parse_model(std::string text, std::string file_name) {
    return read_model(config::parse_jsonc(std::move(text), std::move(file_name)));
}

std::string summary_name(const ModelConfig& config) {
    std::string name =
        fmt::format("{}L-{}H-{}D-{}-{}-{}-{}", config.num_hidden_layers, config.num_attention_heads,
                    config.hidden_size, positional_name(config.position_encoding),
                    normalization_name(config.normalization), ffn_name(config),
                    norm_position_name(config.norm_position));
    if (config.mla) name += "-MLA";
    if (config.moe) {
        name +=
            fmt::format("-MoE{}x{}", config.moe->num_experts, config.moe->num_experts_per_token);
    }
    return name;
}

}  // namespace isoflop::model
