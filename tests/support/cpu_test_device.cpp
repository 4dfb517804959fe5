#include "support/test_device.hpp"

namespace isoflop::test {

TestDevice open_test_device() {
    return {.device = device::open_device(cost::DeviceKind::cpu, {}), .missing = {}, .threads = 3};
}

void in_all_orders(const std::function<void(const std::string& order)>& run) {
    for (int i = 1; i <= 3; ++i) run("run " + std::to_string(i));
}

}  // namespace isoflop::test
