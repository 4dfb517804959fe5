// Lists and checks as text and JSON: GPUs, laws, validation.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/text_report.hpp"
#include "isoflop/validation/validation.hpp"

namespace isoflop::report {

[[nodiscard]] std::string gpus_text(const hardware::GpuTable& table, text::Colour colour,
                                    std::size_t width = text::kReportWidth);
[[nodiscard]] nlohmann::ordered_json gpus_json(const hardware::GpuTable& table);

[[nodiscard]] std::string laws_text(std::span<const scaling_law::Law> laws, text::Colour colour);
[[nodiscard]] nlohmann::ordered_json laws_json(std::span<const scaling_law::Law> laws);

/// Expected value, error and source of every case, and what was got where it is out of tolerance;
/// the last line counts those.
[[nodiscard]] std::string validation_text(std::span<const validation::ValidationCase> cases,
                                          text::Colour colour, bool quiet,
                                          std::size_t width = text::kReportWidth);
[[nodiscard]] nlohmann::ordered_json validation_json(
    std::span<const validation::ValidationCase> cases);

}  // namespace isoflop::report
