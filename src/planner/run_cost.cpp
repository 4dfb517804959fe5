#include "isoflop/planner/run_cost.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"

namespace isoflop::planner {
namespace {

void check_currency(const recipe::PlanKeys& keys) {
    const std::string& currency = keys.cost_assumptions.currency;
    const bool is_code =
        currency.size() == 3 &&
        std::all_of(currency.begin(), currency.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (is_code) return;
    throw ConfigError(recipe::located(
        keys, "cost_assumptions.currency",
        fmt::format("cost_assumptions.currency is three capital letters, as in USD; found \"{}\"",
                    currency)));
}

}  // namespace

std::optional<double> RunCost::total_cost() const {
    if (!has_prices() || (energy_price && !energy_cost)) return std::nullopt;
    return gpu_cost.value_or(0) + energy_cost.value_or(0);
}

RunCost run_cost(const recipe::PlanKeys& keys, const hardware::Gpu& gpu, double num_gpus,
                 double hours) {
    check_currency(keys);
    const recipe::CostAssumptions& assumptions = keys.cost_assumptions;
    RunCost cost;
    cost.gpu_hours = num_gpus * hours;
    cost.power_from_table = !assumptions.board_power;
    cost.board_power_watts = assumptions.board_power ? assumptions.board_power : gpu.tdp_watts;
    cost.power_share = assumptions.power_share;
    cost.pue = assumptions.pue;
    cost.currency = assumptions.currency;
    cost.gpu_hour_price = assumptions.gpu_hour_price;
    cost.energy_price = assumptions.energy_price;
    if (cost.board_power_watts) {
        constexpr double kWattsPerKilowatt = 1000;
        cost.energy_kwh = cost.gpu_hours * *cost.board_power_watts / kWattsPerKilowatt *
                          cost.power_share * cost.pue;
    }
    if (cost.gpu_hour_price) cost.gpu_cost = cost.gpu_hours * *cost.gpu_hour_price;
    if (cost.energy_price && cost.energy_kwh)
        cost.energy_cost = *cost.energy_kwh * *cost.energy_price;
    return cost;
}

}  // namespace isoflop::planner
