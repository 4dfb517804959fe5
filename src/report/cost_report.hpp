// Energy and money of a plan, with what they are computed from.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "isoflop/planner/run_cost.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

/// "3.37 MWh", and "unknown" without a figure.
[[nodiscard]] std::string energy_text(std::optional<double> kwh);
/// "700 x 0.76 x 1.1": what the energy of a GPU hour is computed from.
[[nodiscard]] std::string power_text(std::optional<double> board_power_watts, double power_share,
                                     double pue);
/// "14,400.00 USD", and "-" without a figure.
[[nodiscard]] std::string money_text(std::optional<double> amount, const std::string& currency);

void cost_section(text::TextReport& report, const planner::RunCost& cost);
/// The fields energy_kwh, cost and cost_assumptions.
void add_cost(nlohmann::ordered_json& json, const planner::RunCost& cost);

}  // namespace isoflop::report
