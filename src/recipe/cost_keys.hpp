// The keys of a plan from which energy and money are computed.
#pragma once

#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::recipe {

void add_cost_assumptions(config::Schema<PlanKeys>& schema);

}  // namespace isoflop::recipe
