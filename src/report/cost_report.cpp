#include "report/cost_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "report/common_json.hpp"

namespace isoflop::report {
namespace {

using nlohmann::ordered_json;

std::string_view mark_of_default(double value, double usual) {
    return value == usual ? ", the default" : "";
}

void money_rows(text::TextReport& report, const planner::RunCost& cost) {
    if (cost.gpu_hour_price) {
        report.row("GPU cost", money_text(cost.gpu_cost, cost.currency),
                   fmt::format("{} a GPU hour", money_text(cost.gpu_hour_price, cost.currency)));
    }
    if (cost.energy_price) {
        report.row("Electricity", money_text(cost.energy_cost, cost.currency),
                   fmt::format("{:g} {} a kWh", *cost.energy_price, cost.currency));
    }
    if (cost.gpu_hour_price && cost.energy_price)
        report.row("Total cost", money_text(cost.total_cost(), cost.currency), "the sum of both");
}

}  // namespace

std::string energy_text(std::optional<double> kwh) {
    if (!kwh) return "unknown";
    if (*kwh >= 1e6) return fmt::format("{:.2f} GWh", *kwh / 1e6);
    if (*kwh >= 1e3) return fmt::format("{:.2f} MWh", *kwh / 1e3);
    return fmt::format("{:.3g} kWh", *kwh);
}

std::string power_text(std::optional<double> board_power_watts, double power_share, double pue) {
    return board_power_watts
               ? fmt::format("{:g} x {:g} x {:g}", *board_power_watts, power_share, pue)
               : std::string("unknown");
}

std::string money_text(std::optional<double> amount, const std::string& currency) {
    constexpr double kCountableCents = 9e15;
    if (!amount) return "-";
    if (std::abs(*amount) >= kCountableCents / 100)
        return fmt::format("{:.2e} {}", *amount, currency);
    const auto cents = static_cast<std::int64_t>(std::llround(*amount * 100));
    return fmt::format("{}.{:02} {}", with_separators(cents / 100), cents % 100, currency);
}

void cost_section(text::TextReport& report, const planner::RunCost& cost) {
    const recipe::CostAssumptions defaults;
    report.section("10. Energy and cost");
    report.row("GPU hours",
               with_separators(static_cast<std::int64_t>(std::llround(cost.gpu_hours))),
               "GPUs x time of the schedule");
    if (cost.board_power_watts) {
        report.row("Board power", fmt::format("{:g} W", *cost.board_power_watts),
                   cost.power_from_table ? "per GPU, GPU table" : "per GPU, given");
    } else {
        report.row("Board power", "unknown", "no source: set board_power");
    }
    report.row("Power share", fmt::format("{:g} %", cost.power_share * 100),
               fmt::format("of it{}", mark_of_default(cost.power_share, defaults.power_share)));
    report.row("PUE", fmt::format("{:g}", cost.pue),
               fmt::format("data centre{}", mark_of_default(cost.pue, defaults.pue)));
    report.row("Energy", energy_text(cost.energy_kwh));
    if (cost.energy_kwh)
        report.line("= GPU hours x board power x share x PUE: GPUs only, no hosts or network.");
    money_rows(report, cost);
}

void add_cost(ordered_json& json, const planner::RunCost& cost) {
    json["energy_kwh"] = number_or_null(cost.energy_kwh);
    json["cost"] = nullptr;
    if (cost.has_prices()) {
        json["cost"] = {{"total", number_or_null(cost.total_cost())},
                        {"gpu_hours", number_or_null(cost.gpu_cost)},
                        {"energy", number_or_null(cost.energy_cost)},
                        {"currency", cost.currency}};
    }
    json["cost_assumptions"] = {{"gpu_hours", cost.gpu_hours},
                                {"board_power_watts", number_or_null(cost.board_power_watts)},
                                {"board_power_source", cost.power_from_table ? "table" : "config"},
                                {"power_share", cost.power_share},
                                {"pue", cost.pue},
                                {"gpu_hour_price", number_or_null(cost.gpu_hour_price)},
                                {"energy_price", number_or_null(cost.energy_price)},
                                {"currency", cost.currency}};
}

}  // namespace isoflop::report
