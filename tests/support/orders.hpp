// The orders in which the linked program's device can execute a kernel.
#pragma once

#include <functional>
#include <string>

namespace isoflop::test {

/// Calls `run` with a name for the order, once in every scheduling order of the emulator. A real
/// GPU chooses its own, so it runs a few times.
void in_all_orders(const std::function<void(const std::string& order)>& run);

}  // namespace isoflop::test
