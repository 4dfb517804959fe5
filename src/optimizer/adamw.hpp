// AdamW over the fused op.
#pragma once

#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::optimizer {

[[nodiscard]] std::unique_ptr<Optimizer> make_adamw();

}  // namespace isoflop::optimizer
