// What both tools say about a command line that they refuse.
#pragma once

#include <string>
#include <vector>

namespace isoflop::text {

/// `message` with the nearest of the `known` names, which have no dashes, where it is about an
/// option "--name". An option of a section ("run.seed") is also known by its last part.
[[nodiscard]] std::string usage_message(std::string message, std::vector<std::string> known);

}  // namespace isoflop::text
