// Energy and money of a run: energy = GPUs x board power x power share x hours x PUE (as in Touvron
// et al. 2023, LLaMA, section 6), money = GPU hours and energy at given prices. Energy is unknown
// where the board power is.
#pragma once

#include <optional>
#include <string>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::planner {

struct RunCost {
    double gpu_hours = 0;
    std::optional<double> board_power_watts = {};  ///< of one GPU
    bool power_from_table = true;
    double power_share = 0;
    double pue = 0;
    std::optional<double> energy_kwh = {};
    std::string currency = {};
    std::optional<double> gpu_hour_price = {};
    std::optional<double> energy_price = {};  ///< for a kWh
    std::optional<double> gpu_cost = {};      ///< GPU hours at their price
    std::optional<double> energy_cost = {};   ///< energy at its price

    /// The sum of both parts; nullopt unless every part that has a price is known.
    [[nodiscard]] std::optional<double> total_cost() const;
    [[nodiscard]] bool has_prices() const { return gpu_hour_price || energy_price; }
};

/// Of a run of `hours` on `num_gpus` of this GPU. Throws ConfigError, with the place in the file,
/// for a currency that is no three capital letters.
[[nodiscard]] RunCost run_cost(const recipe::PlanKeys& keys, const hardware::Gpu& gpu,
                               double num_gpus, double hours);

}  // namespace isoflop::planner
