// How launches of this host thread are emulated, and what they have done.
#pragma once

#include <cstdint>

#include "simt_emulator/counters.hpp"

namespace isoflop::emulator {

/// Which thread runs next. Threads run until they wait for others, so each order shows other
/// missing barriers.
enum class Order {
    lockstep,     ///< all lanes of all warps in turn
    warp_greedy,  ///< one warp until it waits for others: a warp gets far ahead
    random,       ///< blocks, warps and lanes by seed
};

struct Options {
    Order order = Order::lockstep;
    std::uint64_t seed = 1;  ///< of Order::random
    bool count = true;       ///< requests, sectors, bank conflicts
};

/// While it lives, launches of this host thread follow its options and add to its counters. Without
/// one they follow the default options.
class Session {
public:
    explicit Session(const Options& options = {});
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    [[nodiscard]] const Options& options() const { return options_; }
    [[nodiscard]] const Counters& counters() const { return counters_; }
    void reset_counters() { counters_ = {}; }

    static Session* current();
    void add(const Counters& counters);

private:
    Options options_;
    Counters counters_;
    Session* outer_;
};

}  // namespace isoflop::emulator
