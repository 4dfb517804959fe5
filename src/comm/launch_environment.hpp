// Reads the variables of a launcher, separate from the real environment, so that tests can supply
// their own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "isoflop/comm/launch.hpp"

namespace isoflop::comm {

/// The value of a variable; nullopt when it is not set. Set but empty counts as not set.
using EnvironmentLookup = std::function<std::optional<std::string>(std::string_view)>;

[[nodiscard]] LaunchInfo launch_from(const EnvironmentLookup& lookup);

/// "node[07-09,12],gpu3" -> "node07": the first host of SLURM's compressed list.
[[nodiscard]] std::string first_slurm_host(std::string_view node_list);

/// Tasks on node `node` of SLURM's "4(x2),3"; nullopt when the text is something else.
[[nodiscard]] std::optional<int> slurm_tasks_of_node(std::string_view tasks_per_node, int node);

}  // namespace isoflop::comm
