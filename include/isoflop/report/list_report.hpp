// Lists and checks as text and JSON: GPUs, laws, validation, sweeps.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/planner/sweep.hpp"
#include "isoflop/planner/validation.hpp"
#include "isoflop/report/text_report.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::report {

[[nodiscard]] std::string gpus_text(const hardware::GpuTable& table, Colour colour);
[[nodiscard]] nlohmann::ordered_json gpus_json(const hardware::GpuTable& table);

[[nodiscard]] std::string laws_text(std::span<const scaling_law::Law> laws, Colour colour);
[[nodiscard]] nlohmann::ordered_json laws_json(std::span<const scaling_law::Law> laws);

/// Expected, got, error and source of every case; the last line counts those out of tolerance.
[[nodiscard]] std::string validation_text(std::span<const planner::ValidationCase> cases, Colour colour,
                                          bool quiet);
[[nodiscard]] nlohmann::ordered_json validation_json(std::span<const planner::ValidationCase> cases);

/// A sweep's table may have a million rows: rows are written as they come, with columns of fixed width.
[[nodiscard]] std::string sweep_header(std::span<const planner::SweepAxis> axes);
void append_sweep_row(std::string& out, std::span<const planner::SweepAxis> axes, const planner::SweepRow& row);
/// One JSON object, without line end.
void append_sweep_json(std::string& out, std::span<const planner::SweepAxis> axes, const planner::SweepRow& row);

}  // namespace isoflop::report
