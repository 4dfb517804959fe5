#include "support/orders.hpp"

#include "simt_emulator/test_support.hpp"

namespace isoflop::test {

void in_all_orders(const std::function<void(const std::string& order)>& run) {
    for (const emulator::Options& options : emulator::all_orders()) {
        const emulator::Session session(options);
        run("order " + std::to_string(static_cast<int>(options.order)) + ", seed " +
            std::to_string(options.seed));
    }
}

}  // namespace isoflop::test
