#include "support/test_device.hpp"

namespace isoflop::test {

TestDevice open_test_device() {
    const device::DeviceCount count = device::count_gpus();
    return {.device = count.devices > 0 ? device::open_gpu({}) : nullptr, .missing = count.reason};
}

void in_all_orders(const std::function<void(const std::string& order)>& run) {
    for (int time = 0; time < 3; ++time) run("run " + std::to_string(time));
}

}  // namespace isoflop::test
