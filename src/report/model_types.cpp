#include "isoflop/report/model_types.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/model/published_counts.hpp"
#include "isoflop/model/trainable.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {
namespace {

using nlohmann::ordered_json;

/// One model type, as its class in transformers is by default.
struct ModelType {
    std::string name;
    std::string layers;                 ///< what they are made of
    std::string untrained;              ///< why `train` does not run them; empty where it does
    std::optional<std::int64_t> total;  ///< parameters with the sizes of the class
    std::optional<std::int64_t> active;
    std::vector<const model::PublishedCount*> published;
};

std::string attention_text(const model::ModelConfig& config) {
    std::string text = config.mla ? "latent attention" : "attention";
    if (config.num_window_layers() > 0) {
        text += fmt::format(" ({} in {} of {})", config.chunked_windows ? "chunks" : "windows",
                            config.num_window_layers(), config.num_hidden_layers);
    }
    return text;
}

std::string layers_text(const model::ModelConfig& config) {
    std::vector<std::string> parts;
    if (config.num_attention_layers() > 0) parts.push_back(attention_text(config));
    if (config.recurrence) parts.emplace_back(to_string(config.recurrence->kind));
    if (config.num_dense_layers() > 0 && config.moe) parts.emplace_back("dense");
    if (config.num_moe_layers() > 0) {
        parts.push_back(fmt::format("{} experts, {} used", config.moe->num_experts,
                                    config.moe->num_experts_per_token));
    }
    const std::vector<std::string_view> words(parts.begin(), parts.end());
    return join(words);
}

/// The class with its own sizes; nullopt where it leaves some to the file.
std::optional<model::ModelConfig> class_default(std::string_view type) {
    const ordered_json section = {{"model_type", "any"}, {"text_config", {{"model_type", type}}}};
    try {
        return model::parse_model(section.dump(), std::string(type)).config;
    } catch (const ConfigError&) {
        return std::nullopt;
    }
}

std::string type_of(const model::PublishedCount& published) {
    return model::parse_model(std::string(published.config)).keys.model_type.value_or("");
}

ModelType describe(std::string_view name) {
    constexpr std::int64_t kLength = 1024;
    ModelType type;
    type.name = name;
    for (const model::PublishedCount& published : model::published_counts()) {
        if (type_of(published) == name) type.published.push_back(&published);
    }
    std::optional<model::ModelConfig> config = class_default(name);
    if (config) {
        const model::ParameterTotals totals = model::parameter_layout(*config).totals();
        type.total = totals.total;
        type.active = totals.active;
    } else if (!type.published.empty()) {
        config = model::parse_model(std::string(type.published.front()->config)).config;
    }
    if (config) {
        type.layers = layers_text(*config);
        type.untrained = model::untrainable_reason(*config, kLength);
    }
    return type;
}

std::vector<ModelType> model_types() {
    std::vector<ModelType> types;
    for (const std::string_view name : model::known_model_types()) types.push_back(describe(name));
    return types;
}

std::string count_text(const std::optional<std::int64_t>& count) {
    return count ? with_separators(*count) : std::string("-");
}

}  // namespace

std::string model_types_text(text::Colour colour, std::size_t width) {
    text::Table table({{"model_type", text::Align::left},
                       {"train", text::Align::left},
                       {"checked"},
                       {"layers", text::Align::left}});
    const std::vector<ModelType> types = model_types();
    for (const ModelType& type : types) {
        table.row({type.name, type.untrained.empty() ? "yes" : "no",
                   type.published.empty() ? "-" : fmt::format("{}", type.published.size()),
                   type.layers});
    }
    return table.str("", colour, width) +
           fmt::format(
               "\n{} types of Hugging Face's config.json are planned exactly.\ntrain: whether "
               "`train` runs, imports and exports them; checked: released models whose published "
               "counts `scaling-plan validate` holds.\nReasons and counts: scaling-plan types "
               "--json, docs/models.md\n",
               types.size());
}

ordered_json model_types_json() {
    ordered_json list = ordered_json::array();
    for (const ModelType& type : model_types()) {
        ordered_json published = ordered_json::array();
        for (const model::PublishedCount* count : type.published) {
            published.push_back({{"model", count->model},
                                 {"total", count->total},
                                 {"active", count->active},
                                 {"source", count->source}});
        }
        list.push_back({{"model_type", type.name},
                        {"layers", type.layers},
                        {"trained", type.untrained.empty()},
                        {"reason", type.untrained},
                        {"class_total", type.total ? ordered_json(*type.total) : nullptr},
                        {"class_active", type.active ? ordered_json(*type.active) : nullptr},
                        {"published", published}});
    }
    return {{"kind", "types"}, {"types", list}};
}

std::string model_types_markdown() {
    const std::vector<ModelType> types = model_types();
    std::string text = fmt::format(R"(# Models

<!-- Written by `scaling-plan types --markdown -`. -->

`scaling-plan` reads the config.json of {} model types of Hugging Face. For each it plans every
tensor and every FLOP exactly: tests compare the names and shapes of random models of each type with
those that transformers builds, and the FLOPs with those that it executes. Another type is refused;
a model of it is described by keys of its own ([configuration.md](configuration.md)). Code beside a
checkpoint (`auto_map`) is never run.

Trained: `train` runs the type, imports its checkpoints and exports to them. Otherwise the column
names the part that it does not have. Parameters are those of the class without further keys.

)",
                                   types.size());
    text::Table table({{"model_type", text::Align::left},
                       {"Layers", text::Align::left},
                       {"Planned", text::Align::left},
                       {"Trained and imported", text::Align::left},
                       {"Parameters of the class"}});
    for (const ModelType& type : types) {
        table.row({type.name, type.layers, "yes",
                   type.untrained.empty() ? "yes" : "no: " + type.untrained,
                   count_text(type.total)});
    }
    text += table.markdown() + R"(
## Released models

`scaling-plan validate` counts these from their config.json, with tolerance 0.

)";
    text::Table released({{"Model", text::Align::left},
                          {"model_type", text::Align::left},
                          {"Parameters"},
                          {"Used by one token"},
                          {"Source", text::Align::left}});
    for (const model::PublishedCount& count : model::published_counts()) {
        released.row({std::string(count.model), type_of(count), with_separators(count.total),
                      with_separators(count.active), std::string(count.source)});
    }
    return text + released.markdown();
}

}  // namespace isoflop::report
