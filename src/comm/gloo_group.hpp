// A group of ranks connected by Gloo's TCP transport. Only in builds with Gloo.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "isoflop/comm/point_to_point.hpp"

namespace gloo {
class Context;
}

namespace isoflop::comm {

/// `context` is connected to all ranks; `names[r]` is the name of rank r in messages ("rank 3 on
/// node7").
[[nodiscard]] std::unique_ptr<PointToPoint> make_gloo_group(std::shared_ptr<gloo::Context> context,
                                                            std::vector<std::string> names,
                                                            std::chrono::milliseconds timeout);

}  // namespace isoflop::comm
