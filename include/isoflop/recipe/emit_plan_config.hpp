// Plan configs as files: written through the table of plan keys that reads them.
#pragma once

#include <span>
#include <string>

#include "isoflop/recipe/emit_train_config.hpp"
#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::recipe {

/// Annotated JSONC of `keys`: those that are required or defining, and those that differ from their
/// default, in the order of the table. `heading`: whole lines of comment, without the slashes.
[[nodiscard]] std::string plan_config_text(const PlanKeys& keys,
                                           std::span<const std::string> heading,
                                           std::span<const KeyComment> comments);

}  // namespace isoflop::recipe
