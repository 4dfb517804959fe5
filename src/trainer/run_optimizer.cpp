#include "isoflop/trainer/run_optimizer.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "isoflop/optimizer/adamw.hpp"

namespace isoflop::trainer {
namespace {

std::unique_ptr<optimizer::Optimizer> adamw(const recipe::Recipe& recipe) {
    const recipe::OptimizerKeys& keys = recipe.keys.optimizer;
    const recipe::ExecutionKeys& execution = recipe.keys.execution;
    return optimizer::make_adamw({.beta1 = keys.beta1,
                                  .beta2 = keys.beta2,
                                  .eps = keys.adam_eps,
                                  .weight_decay = keys.weight_decay,
                                  .stochastic_rounding = execution.stochastic_rounding,
                                  .rounding_seed = static_cast<std::uint64_t>(execution.seed)});
}

struct Entry {
    const cost::OptimizerState* state;
    std::unique_ptr<optimizer::Optimizer> (*make)(const recipe::Recipe& recipe);
};
constexpr Entry kEntries[] = {{&cost::kAdamW, adamw}};

}  // namespace

std::unique_ptr<optimizer::Optimizer> make_optimizer(const recipe::Recipe& recipe) {
    for (const Entry& entry : kEntries) {
        if (entry.state == recipe.optimizer) return entry.make(recipe);
    }
    throw std::logic_error(fmt::format("optimizer '{}' has no update", recipe.optimizer->name));
}

}  // namespace isoflop::trainer
