// A run up to the point where it would allocate. Internal to the trainer.
#pragma once

#include "isoflop/comm/launch.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/trainer/train_loop.hpp"

namespace isoflop::trainer {

/// Prints the plan, and whether it fits; throws what the run would throw until there, and returns
/// out_of_memory where the run would end with it.
[[nodiscard]] ExitCode dry_run(recipe::TrainKeys keys, comm::LaunchInfo launch,
                               const RunEnvironment& environment);

}  // namespace isoflop::trainer
