#include "isoflop/recipe/file_kind.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_format.hpp"
#include "isoflop/model/model_keys.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/recipe/train_keys.hpp"

namespace isoflop::recipe {
namespace {

std::optional<FileKind> named_schema(const config::Value& root) {
    const config::Value* schema = root.find("$schema");
    if (schema == nullptr || !schema->is_string()) return std::nullopt;
    const std::string& name = schema->as_string();
    if (name.ends_with("plan.schema.json")) return FileKind::plan;
    if (name.ends_with("train.schema.json")) return FileKind::training;
    if (name.ends_with("model.schema.json")) return FileKind::model;
    return std::nullopt;
}

/// A section of a plan is an object under its name.
bool has_plan_section(const config::Value& root) {
    const auto& sections = plan_schema().sections();
    return std::any_of(sections.begin(), sections.end(), [&](const config::Section& section) {
        const config::Value* value = root.find(section.name);
        return value != nullptr && value->is_object();
    });
}

/// How many keys which table knows.
struct KnownKeys {
    int model = 0;
    int training_only = 0;  ///< no model has them
    int run = 0;            ///< of those: batch, optimizer, and the run itself
};

bool is_of_a_run(const config::Section& section) {
    return section.title == kBatchSection || section.title == kOptimizerSection ||
           section.title == kRunSection;
}

KnownKeys known_keys(const config::Value& root) {
    const config::Section& model_section = model::model_schema().sections().front();
    KnownKeys known;
    for (const config::Member& member : root.as_object()) {
        if (model_section.find(member.key) != nullptr) {
            ++known.model;
            continue;
        }
        for (const config::Section& section : train_schema().sections()) {
            if (section.find(member.key) == nullptr) continue;
            ++known.training_only;
            if (is_of_a_run(section)) ++known.run;
        }
    }
    return known;
}

}  // namespace

std::optional<FileKind> file_kind(const config::Document& document) {
    const config::Value& root = document.root;
    if (!root.is_object()) return std::nullopt;
    if (const auto named = named_schema(root)) return named;
    if (has_plan_section(root)) return FileKind::plan;
    const KnownKeys known = known_keys(root);
    const config::Value* classes = root.find("architectures");
    const bool written_by_transformers =
        root.find("transformers_version") != nullptr || (classes != nullptr && classes->is_array());
    // Their files may hold any key, such as ignore_index; a batch, an optimizer or a run they
    // do not describe. One such key among theirs is chance, two are a training config.
    if (written_by_transformers) return known.run > 1 ? FileKind::training : FileKind::hugging_face;
    if (root.find("model_type") != nullptr)
        return known.run > 0 ? FileKind::training : FileKind::hugging_face;
    // Arguments of Megatron-LM, for one, hold a run's keys too.
    if (!model::read_format(document, root).title.empty()) return FileKind::model;
    if (known.training_only > 0) return FileKind::training;
    if (known.model > 0) return FileKind::model;
    return std::nullopt;
}

std::string_view title(FileKind kind) {
    switch (kind) {
        case FileKind::plan: return "plan config";
        case FileKind::training: return "training config";
        case FileKind::model: return "model config";
        case FileKind::hugging_face: return "Hugging Face config.json";
    }
    return "?";
}

std::string advice(FileKind kind, const std::string& file) {
    std::string is = fmt::format("is a {}; use ", title(kind));
    switch (kind) {
        case FileKind::plan:
            return is + fmt::format(
                            "`scaling-plan backward {0}`, and `scaling-plan backward {0} "
                            "--emit-train-config FILE` for a config that train runs",
                            file);
        case FileKind::training:
            return is + fmt::format(
                            "`scaling-plan model {0}` or `train {0}`; a plan takes its name as "
                            "\"architecture\"",
                            file);
        case FileKind::model:
            return is +
                   fmt::format(
                       "`scaling-plan model {0}` or `scaling-plan backward {0} --gpu_type=...`; "
                       "a plan takes its name or its keys as \"architecture\", a training "
                       "config its keys among its own",
                       file);
        case FileKind::hugging_face:
            return is +
                   fmt::format(
                       "`scaling-plan model {0}` or `scaling-plan backward {0} --gpu_type=...`; "
                       "a plan takes its name or its keys as \"architecture\"; `train` takes "
                       "its folder, with the weights, as init_from, or a training config with "
                       "its sizes",
                       file);
    }
    return is;
}

void refuse_other_kinds(const config::Document& document, std::initializer_list<FileKind> taken) {
    const std::optional<FileKind> kind = file_kind(document);
    if (!kind || std::find(taken.begin(), taken.end(), *kind) != taken.end()) return;
    throw ConfigError(
        fmt::format("{}: error: this {}", document.file_name, advice(*kind, document.file_name)));
}

}  // namespace isoflop::recipe
