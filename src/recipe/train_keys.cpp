#include "isoflop/recipe/train_keys.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "recipe/gpu_type.hpp"

namespace isoflop::recipe {
namespace {

struct RetiredKey {
    std::string_view key;
    std::string_view advice;
};

constexpr std::array<RetiredKey, 12> kRetiredKeys = {{
    {"compile", "nothing is compiled at run time; leave it out"},
    {"backend",
     "the library for communication follows the device; for attention use attention_backend"},
    {"wandb_log",
     "use tensorboard=true; metrics.jsonl and the JSON log are always there for importers"},
    {"wandb_project", "use tensorboard=true and run_name"},
    {"wandb_run_name", "use run_name"},
    {"attention_dropout", "attention has no dropout; use dropout for the branches"},
    {"residual_dropout", "use dropout"},
    {"use_cuda_graphs", "use cuda_graphs"},
    {"use_sparse_specs", "peaks are dense; sparse figures exist nowhere here"},
    {"use_dataloader", "data need no loader; leave it out"},
    {"eval_at_start", "use eval_only for the loss before training"},
    {"keep_all_checkpoints", "use keep_checkpoints=0"},
}};

void refuse_retired(const config::Document& document) {
    if (!document.root.is_object()) return;
    for (const config::Member& member : document.root.as_object()) {
        const std::string advice = retired_key_advice(member.key);
        if (advice.empty()) continue;
        throw ConfigError(
            document.describe(member.key_location,
                              fmt::format("key '{}' means nothing here: {}", member.key, advice)));
    }
}

void apply_overrides(TrainKeys& keys, std::span<const std::string> overrides) {
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        if (const std::string advice = retired_key_advice(key); !advice.empty()) {
            throw ConfigError(fmt::format("key '{}' means nothing here: {}", key, advice));
        }
        train_schema().set(keys, key, value);
    }
}

/// Points at the name where it is that of the file.
void check_gpu_type_at(const std::string& name, const config::Document& document) {
    try {
        check_gpu_type(name);
    } catch (const ConfigError& error) {
        const config::Value* value = document.root.find("gpu_type");
        const bool of_file = value != nullptr && value->is_string() && value->as_string() == name;
        if (!of_file) throw;
        throw ConfigError(document.describe(value->location(), error.what()));
    }
}

TrainKeys keys_of(const config::Document& document, std::span<const std::string> overrides) {
    refuse_retired(document);
    TrainKeys keys;
    config::ReadNotes notes;
    train_schema().read(keys, document, &notes);
    model::refuse_unknown_keys(train_schema(), notes, document, document.root);
    apply_overrides(keys, overrides);
    train_schema().require(keys, document);
    check_gpu_type_at(keys.run.gpu_type, document);
    keys.model = with_default_preset(keys.model);
    (void)model::resolve_at(keys.model, document, document.root);
    return keys;
}

}  // namespace

model::ModelKeys with_default_preset(model::ModelKeys keys) {
    if (!keys.arch_preset && !keys.model_type) keys.arch_preset = model::ArchPreset::gpt2;
    return keys;
}

std::optional<cost::AttentionBackend> backend_of(AttentionChoice choice) {
    switch (choice) {
        case AttentionChoice::automatic: return std::nullopt;
        case AttentionChoice::flash_attn_2: return cost::AttentionBackend::flash_attn_2;
        case AttentionChoice::sdpa: return cost::AttentionBackend::sdpa;
        case AttentionChoice::manual: return cost::AttentionBackend::manual;
    }
    return std::nullopt;
}

AttentionChoice choice_of(cost::AttentionBackend backend) {
    switch (backend) {
        case cost::AttentionBackend::flash_attn_2: return AttentionChoice::flash_attn_2;
        case cost::AttentionBackend::sdpa: return AttentionChoice::sdpa;
        case cost::AttentionBackend::manual: return AttentionChoice::manual;
    }
    return AttentionChoice::automatic;
}

std::string retired_key_advice(std::string_view key) {
    for (const RetiredKey& retired : kRetiredKeys) {
        if (retired.key == key) return std::string(retired.advice);
    }
    return {};
}

TrainKeys read_train_keys(const std::filesystem::path& path,
                          std::span<const std::string> overrides) {
    return read_train_keys(config::read_jsonc_file(path), overrides);
}

TrainKeys read_train_keys(const config::Document& document,
                          std::span<const std::string> overrides) {
    refuse_other_kinds(document, {FileKind::training, FileKind::model});
    return keys_of(document, overrides);
}

TrainKeys parse_train_keys(std::string text, std::string file_name) {
    return keys_of(config::parse_jsonc(std::move(text), std::move(file_name)), {});
}

bool is_trainable_dtype(DType dtype) {
    return dtype == DType::float32 || dtype == DType::tf32 || dtype == DType::bfloat16 ||
           dtype == DType::float16;
}

TrainKeys train_keys_from(std::span<const std::string> overrides) {
    TrainKeys keys;
    apply_overrides(keys, overrides);
    keys.model = with_default_preset(keys.model);
    return keys;
}

TrainKeys train_keys_from_json(const nlohmann::ordered_json& json, const std::string& source) {
    TrainKeys keys;
    const config::Document document = config::parse_jsonc(json.dump(), source);
    train_schema().read(keys, document);
    return keys;
}

nlohmann::ordered_json to_json(const TrainKeys& keys) {
    nlohmann::ordered_json json;
    for (const config::Section& section : train_schema().sections()) {
        for (const config::Field& field : section.fields) {
            // A key that is not set is omitted: most keys do not accept null.
            if (field.info.ignored || std::holds_alternative<std::monostate>(field.get(&keys)))
                continue;
            auto& entry = json[std::string(field.info.key)];
            std::visit(
                [&](const auto& value) {
                    using V = std::decay_t<decltype(value)>;
                    if constexpr (std::is_same_v<V, std::monostate>) {
                        entry = nullptr;
                    } else if constexpr (std::is_same_v<V, config::Value>) {
                        entry = value.is_null() ? nlohmann::ordered_json(nullptr)
                                                : config::parse_json(value.to_text());
                    } else {
                        entry = value;
                    }
                },
                field.get(&keys));
        }
    }
    return json;
}

}  // namespace isoflop::recipe
