#include "support/test_device.hpp"

#include "simt_emulator/test_support.hpp"

namespace isoflop::test {

TestDevice open_test_device() {
    const device::DeviceCount count = device::count_gpus();
    return {.device = count.devices > 0 ? device::open_gpu({}) : nullptr, .missing = count.reason};
}

void in_all_orders(const std::function<void(const std::string& order)>& run) {
    for (const emulator::Options& options : emulator::all_orders()) {
        const emulator::Session session(options);
        run("order " + std::to_string(static_cast<int>(options.order)) + ", seed " +
            std::to_string(options.seed));
    }
}

}  // namespace isoflop::test
