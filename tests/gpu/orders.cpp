#include "support/orders.hpp"

namespace isoflop::test {

void in_all_orders(const std::function<void(const std::string& order)>& run) {
    for (int time = 0; time < 3; ++time) run("run " + std::to_string(time));
}

}  // namespace isoflop::test
