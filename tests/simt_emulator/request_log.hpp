// Puts the accesses of the 32 lanes of a warp, which the emulator runs one after the other,
// together as the requests that the warp would have made, and counts them.
//
// Accesses belong together when they are the same in number at the same place in the source since
// the warp last came together.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "simt_emulator/counters.hpp"
#include "simt_emulator/sites.hpp"

namespace isoflop::emulator {

enum class AccessKind : std::uint8_t {
    global_load,
    global_store,
    global_atomic,
    shared_load,
    shared_store,
    shared_atomic,
};

struct Access {
    std::uint64_t address;
    std::uint32_t bytes;
    Site site;
    AccessKind kind;
};

class RequestLog {
public:
    void record(int lane, const Access& access) {
        lanes_[static_cast<std::size_t>(lane)].push_back(access);
    }
    /// The lanes are at one place of the program: count what they did so far.
    void flush(Counters& counters);

private:
    struct Part {
        std::uint64_t group;  // kind, site and the how-manieth there
        int lane;
        Access access;
    };
    [[nodiscard]] bool uniform() const;
    void flush_diverged(Counters& counters);

    std::array<std::vector<Access>, 32> lanes_;
    std::vector<Part> parts_;
};

/// One request; `lanes[i]` is the lane of `accesses[i]`.
void count_request(std::span<const Access> accesses, std::span<const int> lanes,
                   Counters& counters);

}  // namespace isoflop::emulator
