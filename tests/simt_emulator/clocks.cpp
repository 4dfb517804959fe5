#include "simt_emulator/clocks.hpp"

#include <algorithm>

namespace isoflop::emulator {

void Clocks::start_block(int threads) {
    last_full_barrier_ = now_++;
    block_start_ = now_;
    known_.assign(static_cast<std::size_t>(threads), nullptr);
}

void Clocks::full_barrier() {
    last_full_barrier_ = now_++;
    std::fill(known_.begin(), known_.end(), nullptr);
}

void Clocks::synchronise(std::span<const int> arriving, std::span<const int> waiting) {
    if (arriving.size() == known_.size() && waiting.size() == known_.size()) {
        full_barrier();
        return;
    }
    auto merged = std::make_shared<Known>(known_.size(), 0U);
    const Known* previous = nullptr;  // the lanes of a warp mostly share one
    for (const int thread : arriving) {
        const Known* known = known_[static_cast<std::size_t>(thread)].get();
        if (known == nullptr || known == previous) continue;
        std::transform(merged->begin(), merged->end(), known->begin(), merged->begin(),
                       [](Tick a, Tick b) { return std::max(a, b); });
        previous = known;
    }
    for (const int thread : arriving) (*merged)[static_cast<std::size_t>(thread)] = now_;
    ++now_;
    for (const int thread : waiting) known_[static_cast<std::size_t>(thread)] = merged;
}

}  // namespace isoflop::emulator
