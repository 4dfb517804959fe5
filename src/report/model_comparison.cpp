// The list of figures below makes the text, the Markdown and the CSV; names of fields are their
// paths in the JSON.
#include "isoflop/report/model_comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/report/model_report.hpp"
#include "report/figures.hpp"

namespace isoflop::report {
namespace {

using planner::ModelAnalysis;
using Figures = std::vector<Figure<ModelAnalysis>>;

/// A whole number, with separators for people.
void add_size(Figures& figures, std::string title, std::string name,
              const std::function<std::int64_t(const model::ModelConfig&)>& size) {
    figures.push_back(
        {std::move(title),
         [size](const ModelAnalysis& analysis) { return with_separators(size(analysis.model)); },
         {{std::move(name), "",
           [size](const ModelAnalysis& analysis) -> ExactValue { return size(analysis.model); }}}});
}

void add_sizes(Figures& figures) {
    figures.push_back({"model type",
                       [](const ModelAnalysis& analysis) { return analysis.model.model_type; },
                       {{"model.model_type", "", [](const ModelAnalysis& analysis) -> ExactValue {
                             return analysis.model.model_type;
                         }}}});
    add_size(figures, "layers", "model.num_hidden_layers",
             [](const model::ModelConfig& model) { return model.num_hidden_layers; });
    add_size(figures, "hidden size", "model.hidden_size",
             [](const model::ModelConfig& model) { return model.hidden_size; });
    add_size(figures, "heads", "model.num_attention_heads",
             [](const model::ModelConfig& model) { return model.num_attention_heads; });
    add_size(figures, "kv heads", "model.num_key_value_heads",
             [](const model::ModelConfig& model) { return model.num_key_value_heads; });
    add_size(figures, "vocabulary", "model.vocab_size",
             [](const model::ModelConfig& model) { return model.vocab_size; });
}

void add_parameters(Figures& figures) {
    const auto add = [&](std::string title, std::string name,
                         std::int64_t model::ParameterTotals::*count) {
        figures.push_back(
            {std::move(title),
             [count](const ModelAnalysis& analysis) {
                 return human_count(static_cast<double>(analysis.parameters.*count));
             },
             {{std::move(name), "parameters", [count](const ModelAnalysis& analysis) -> ExactValue {
                   return analysis.parameters.*count;
               }}}});
    };
    add("parameters", "parameters.total", &model::ParameterTotals::total);
    add("active per token", "parameters.active", &model::ParameterTotals::active);
    add("non-embedding", "parameters.non_embedding", &model::ParameterTotals::non_embedding);
}

void add_flops(Figures& figures) {
    figures.push_back(
        {"S tokens",
         [](const ModelAnalysis& analysis) {
             return with_separators(analysis.execution.sequence_length);
         },
         {{"sequence_length", "tokens", [](const ModelAnalysis& analysis) -> ExactValue {
               return analysis.execution.sequence_length;
           }}}});
    figures.push_back({"forward GFLOP/token",
                       [](const ModelAnalysis& analysis) {
                           return fmt::format("{:.2f}", analysis.forward_flops_per_token / 1e9);
                       },
                       {{"forward_flops_per_token", "FLOP/token",
                         [](const ModelAnalysis& analysis) -> ExactValue {
                             return analysis.forward_flops_per_token;
                         }}}});
    figures.push_back({"training GFLOP/token",
                       [](const ModelAnalysis& analysis) {
                           return fmt::format("{:.2f}", analysis.training_flops_per_token / 1e9);
                       },
                       {{"training_flops_per_token", "FLOP/token",
                         [](const ModelAnalysis& analysis) -> ExactValue {
                             return analysis.training_flops_per_token;
                         }}}});
    figures.push_back(
        {"attention share",
         [](const ModelAnalysis& analysis) {
             return fmt::format("{:.1f} %", analysis.attention_core_share() * 100);
         },
         {{"attention_core_share", "", [](const ModelAnalysis& analysis) -> ExactValue {
               return analysis.attention_core_share();
           }}}});
}

/// `title` empty: for programs only.
void add_bytes(Figures& figures, std::string title, std::string name,
               const std::function<std::uint64_t(const ModelAnalysis&)>& bytes) {
    figures.push_back({std::move(title),
                       [bytes](const ModelAnalysis& analysis) {
                           return human_bytes(static_cast<double>(bytes(analysis)));
                       },
                       {{std::move(name), "bytes", [bytes](const ModelAnalysis& analysis) {
                             return exact(bytes(analysis));
                         }}}});
}

void add_memory(Figures& figures, std::span<const NamedModel> models) {
    for (std::size_t i = 0; i < cost::kMemoryCategoryCount; ++i) {
        const auto bytes = [i](const ModelAnalysis& analysis) {
            return analysis.memory.peak_by_category()[i];
        };
        const std::string name(to_string(static_cast<cost::MemoryCategory>(i)));
        const bool used = std::any_of(models.begin(), models.end(), [&](const NamedModel& named) {
            return bytes(named.analysis) > 0;
        });
        add_bytes(figures, used ? "  " + name : "", "memory.by_category." + name, bytes);
    }
    add_bytes(figures, "training memory", "memory.total_bytes",
              [](const ModelAnalysis& analysis) { return analysis.memory.total_bytes(); });
    add_bytes(figures, "KV cache per token", "kv_cache_bytes_per_token",
              [](const ModelAnalysis& analysis) {
                  return static_cast<std::uint64_t>(kv_cache_bytes_per_token(analysis.model));
              });
}

Figures figures_of(std::span<const NamedModel> models) {
    Figures figures;
    add_sizes(figures);
    add_parameters(figures);
    add_flops(figures);
    add_memory(figures, models);
    return figures;
}

std::vector<NamedItem<ModelAnalysis>> items_of(std::span<const NamedModel> models) {
    std::vector<NamedItem<ModelAnalysis>> items;
    for (const NamedModel& named : models) items.push_back({named.name, &named.analysis});
    return items;
}

}  // namespace

std::int64_t kv_cache_bytes_per_token(const model::ModelConfig& config) {
    constexpr std::int64_t kBytesEach = 2;
    const std::int64_t values = config.mla ? config.mla->kv_lora_rank + config.mla->qk_rope_head_dim
                                           : 2 * config.key_value_width();
    return config.num_attention_layers() * values * kBytesEach;
}

std::string model_comparison_text(std::span<const NamedModel> models, text::Colour colour,
                                  std::size_t width) {
    const Figures figures = figures_of(models);
    const auto items = items_of(models);
    return side_by_side_text<ModelAnalysis>(figures, items, colour, width);
}

std::string model_comparison_markdown(std::span<const NamedModel> models) {
    const Figures figures = figures_of(models);
    const auto items = items_of(models);
    return side_by_side<ModelAnalysis>(figures, items).markdown();
}

std::string model_comparison_csv(std::span<const NamedModel> models) {
    const Figures figures = figures_of(models);
    const auto items = items_of(models);
    return csv<ModelAnalysis>(figures, items);
}

nlohmann::ordered_json model_comparison_json(std::span<const NamedModel> models) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const NamedModel& named : models) {
        nlohmann::ordered_json entry = model_json(named.analysis);
        entry["kv_cache_bytes_per_token"] = kv_cache_bytes_per_token(named.analysis.model);
        entry["name"] = named.name;
        entry["file_kind"] = named.file_kind;
        entry["read_as"] = named.read_as;
        entry["assumed"] = named.assumed;
        entry["warnings"] = named.warnings;
        list.push_back(std::move(entry));
    }
    return {{"kind", "compare"}, {"models", list}};
}

}  // namespace isoflop::report
