#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "isoflop/optimizer/optimizer.hpp"
#include "optimizer/adamw.hpp"

namespace isoflop::optimizer {
namespace {

using Entry = std::pair<const cost::OptimizerState*, Factory>;

std::vector<Entry>& entries() {
    static std::vector<Entry> list = {
        {&cost::kAdamW, make_adamw},
    };
    return list;
}

}  // namespace

void register_optimizer(const cost::OptimizerState& state, Factory make) {
    entries().emplace_back(&state, make);
}

std::unique_ptr<Optimizer> make_optimizer(const cost::OptimizerState& state) {
    for (const auto& [known, make] : entries()) {
        if (known == &state) return make();
    }
    throw std::logic_error(fmt::format("no update is registered for optimizer '{}'", state.name));
}

}  // namespace isoflop::optimizer
