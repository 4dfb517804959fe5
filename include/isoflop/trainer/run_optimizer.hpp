// The optimizer of a run, made with the constants of its keys.
#pragma once

#include <memory>

#include "isoflop/optimizer/optimizer.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::trainer {

/// The update that belongs to recipe.optimizer. Throws std::logic_error where there is none.
[[nodiscard]] std::unique_ptr<optimizer::Optimizer> make_optimizer(const recipe::Recipe& recipe);

}  // namespace isoflop::trainer
