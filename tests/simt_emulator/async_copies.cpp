#include "simt_emulator/async_copies.hpp"

namespace isoflop::emulator {

std::vector<AsyncCopy> AsyncCopies::wait_group(std::size_t pending) {
    std::vector<AsyncCopy> complete;
    while (groups_.size() > pending) {
        complete.insert(complete.end(), groups_.front().begin(), groups_.front().end());
        groups_.pop_front();
    }
    return complete;
}

std::vector<AsyncCopy> AsyncCopies::wait_all() {
    std::vector<AsyncCopy> complete = wait_group(0);
    complete.insert(complete.end(), open_.begin(), open_.end());
    open_.clear();
    return complete;
}

}  // namespace isoflop::emulator
