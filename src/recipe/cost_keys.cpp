#include "recipe/cost_keys.hpp"

namespace isoflop::recipe {

void add_cost_assumptions(config::Schema<PlanKeys>& schema) {
    constexpr double kHighestPrice = 1e9;
    schema
        .section("cost_assumptions", &PlanKeys::cost_assumptions,
                 "Power and prices, for the energy and the cost of the run.", config::Required::no)
        .field(&CostAssumptions::board_power,
               {.key = "board_power",
                .help = "Rated power of one GPU.",
                .unit = "W",
                .minimum = 0,
                .maximum = 1e5,
                .exclusive_minimum = true,
                .default_help = "the board power of the GPU table, if it has one"})
        .field(&CostAssumptions::power_share,
               {.key = "power_share",
                .help = "Average power of the run over the board power. Values over 1 include "
                        "hosts and network; 1 is the upper bound for the boards alone.",
                .minimum = 0,
                .maximum = 10,
                .exclusive_minimum = true,
                .range_help = "a fraction: 76 % is 0.76"})
        .field(&CostAssumptions::pue, {.key = "pue",
                                       .help = "Power usage effectiveness: energy of the data "
                                               "centre over energy of its machines.",
                                       .minimum = 1,
                                       .maximum = 10})
        .field(&CostAssumptions::gpu_hour_price, {.key = "gpu_hour_price",
                                                  .help = "Price of one GPU for one hour.",
                                                  .unit = "currency",
                                                  .minimum = 0,
                                                  .maximum = kHighestPrice})
        .field(&CostAssumptions::energy_price,
               {.key = "energy_price",
                .help = "Price of one kWh. Rented GPUs usually include it.",
                .unit = "currency",
                .minimum = 0,
                .maximum = kHighestPrice})
        .field(&CostAssumptions::currency,
               {.key = "currency",
                .help = "Currency of both prices: three capital letters, as in USD or EUR. Nothing "
                        "is converted."});
}

}  // namespace isoflop::recipe
