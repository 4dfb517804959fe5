// The device on which the linked program runs the tests of <layer>/devices and <layer>/cuda, and
// the orders in which it can execute an op.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "isoflop/device/device.hpp"

namespace isoflop::test {

struct TestDevice {
    std::unique_ptr<device::Device> device;  ///< nullptr where there is none
    std::string missing;                     ///< why there is none
    int threads = 1;                         ///< of contexts on it
};
[[nodiscard]] TestDevice open_test_device();

/// Calls `run` with a name for the order, once in every scheduling order of the emulator. A real
/// GPU and the threads of a CPU have orders of their own, so there it is called a few times.
void in_all_orders(const std::function<void(const std::string& order)>& run);

}  // namespace isoflop::test
