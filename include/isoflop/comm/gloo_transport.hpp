// Ranks in processes, connected by Gloo over TCP.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "isoflop/comm/launch.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/comm/store.hpp"

namespace isoflop::comm {

/// False in a build without Gloo.
[[nodiscard]] bool has_gloo();

/// Connects all ranks of the launch through the store. `timeout` bounds each exchange. LostRank
/// messages name rank and host. Throws ConfigError in a build without Gloo.
[[nodiscard]] std::unique_ptr<PointToPoint> connect_gloo(Store& store, const LaunchInfo& launch,
                                                         std::chrono::milliseconds timeout);

/// The same for a subset of the ranks, which all its members call with the same name and members
/// (global ranks in rising order).
[[nodiscard]] std::unique_ptr<PointToPoint> connect_gloo_group(Store& store,
                                                               const LaunchInfo& launch,
                                                               const std::string& name,
                                                               const std::vector<int>& members,
                                                               std::chrono::milliseconds timeout);

}  // namespace isoflop::comm
