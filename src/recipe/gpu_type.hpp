// The key gpu_type of training configs. Internal to the recipe layer.
#pragma once

#include <string_view>

namespace isoflop::recipe {

/// Throws ConfigError for a name that is in no row of the built-in table, and for accelerators on
/// which the trainer does not run. An empty name is none.
void check_gpu_type(std::string_view name);

}  // namespace isoflop::recipe
