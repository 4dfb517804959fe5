// Recipes for the machine that this process runs on.
#pragma once

#include <cstdint>

#include "isoflop/recipe/recipe.hpp"

namespace isoflop::machine {

/// `world_size` ranks; device=auto takes a GPU where this build can open one.
[[nodiscard]] recipe::Machine this_machine(std::int64_t world_size = 1);

/// The recipe of a training config here. Throws ConfigError as recipe::recipe_of.
[[nodiscard]] recipe::Recipe recipe_here(const recipe::TrainKeys& keys,
                                         std::int64_t world_size = 1);

}  // namespace isoflop::machine
