// The forward analysis of an architecture as text and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

struct ModelTextOptions {
    std::string_view file_kind = {};            ///< what the file was read as; empty: not said
    std::span<const std::string> assumed = {};  ///< what the file does not say
    text::Colour colour = text::Colour::off;
    bool all_conventions = false;
    bool quiet = false;
    cost::Convention convention = cost::Convention::exact;
    bool megatron_memory = false;
};

[[nodiscard]] std::string model_text(const planner::ModelAnalysis& analysis,
                                     const ModelTextOptions& options);
[[nodiscard]] nlohmann::ordered_json model_json(const planner::ModelAnalysis& analysis);

}  // namespace isoflop::report
