// The happens-before relation in one block: vector clocks, so that a race is found for every order
// in which the threads really ran in.
//
// A tick is a time between two synchronisations of the block. An event (thread u, tick e) is
// ordered before all that thread t does from now on if u = t, if a barrier of the whole block came
// after e, or if t has learned of u's tick e through a named barrier or sync_warp. Ticks go on over
// the blocks of a launch, so that old records need no clearing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace isoflop::emulator {

using Tick = std::uint32_t;

class Clocks {
public:
    void start_block(int threads);
    [[nodiscard]] Tick now() const { return now_; }
    /// Older events belong to earlier blocks.
    [[nodiscard]] Tick block_start() const { return block_start_; }
    /// All events up to this tick are ordered before everything that is still to happen.
    [[nodiscard]] Tick last_full_barrier() const { return last_full_barrier_; }

    [[nodiscard]] bool ordered(int event_thread, Tick event_tick, int thread) const {
        if (event_tick <= last_full_barrier_ || event_thread == thread) return true;
        const auto& known = known_[static_cast<std::size_t>(thread)];
        return known != nullptr && (*known)[static_cast<std::size_t>(event_thread)] >= event_tick;
    }

    void full_barrier();
    /// What `arriving` have done so far is ordered before what `waiting`, some of them, do next.
    void synchronise(std::span<const int> arriving, std::span<const int> waiting);

private:
    using Known = std::vector<Tick>;  // for each thread of the block the last tick known

    Tick now_ = 1;
    Tick block_start_ = 0;
    Tick last_full_barrier_ = 0;
    std::vector<std::shared_ptr<const Known>>
        known_;  // by thread; null: nothing since the last full barrier
};

}  // namespace isoflop::emulator
