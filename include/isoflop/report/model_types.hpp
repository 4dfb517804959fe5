// The model types of Hugging Face that are read, what is known of each, and which released models
// are checked.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "isoflop/text/fit.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

[[nodiscard]] std::string model_types_text(text::Colour colour,
                                           std::size_t width = text::kReportWidth);
[[nodiscard]] nlohmann::ordered_json model_types_json();
/// docs/models.md.
[[nodiscard]] std::string model_types_markdown();

}  // namespace isoflop::report
