// Models side by side: sizes, parameters, FLOPs and memory, as text, Markdown, CSV and JSON.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

struct NamedModel {
    std::string name;
    std::string file_kind;              ///< for JSON: "model", "hugging_face"
    std::string read_as;                ///< in words: "Hugging Face config.json"
    std::vector<std::string> assumed;   ///< what the file does not say
    std::vector<std::string> warnings;  ///< about the file
    planner::ModelAnalysis analysis;
};

/// Keys and values of one token in all layers, 16-bit; of a latent attention, what it compresses
/// them to. With a sliding window, of a sequence no longer than it.
[[nodiscard]] std::int64_t kv_cache_bytes_per_token(const model::ModelConfig& config);

/// A column a model. Models that do not fit in `width` columns follow in further tables.
[[nodiscard]] std::string model_comparison_text(std::span<const NamedModel> models,
                                                text::Colour colour, std::size_t width = 100);
[[nodiscard]] std::string model_comparison_markdown(std::span<const NamedModel> models);
/// A record a model, with full precision.
[[nodiscard]] std::string model_comparison_csv(std::span<const NamedModel> models);
[[nodiscard]] nlohmann::ordered_json model_comparison_json(std::span<const NamedModel> models);

}  // namespace isoflop::report
