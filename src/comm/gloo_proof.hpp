// Proofs between each pair of ranks that Gloo has connected. Only in builds with Gloo.
//
// Gloo takes whoever connects to the port of a pair first for the other rank. Both ends therefore
// prove that they know the key of the group, which the store carries, before the pair is used.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "comm/job_key.hpp"

namespace gloo {
class Context;
}

namespace isoflop::comm {

/// Exchanges proofs with all ranks of a connected context. Returns the names (`names[r]` is rank r)
/// of the ranks in whose place nobody, or somebody else, has answered. Throws Stopped.
[[nodiscard]] std::vector<std::string> unproved_ranks(gloo::Context& context, const JobKey& key,
                                                      const std::vector<std::string>& names,
                                                      std::chrono::milliseconds timeout);

}  // namespace isoflop::comm
