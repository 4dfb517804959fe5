// Shared memory of a block: arrays with red zones between them, filled with a poison that is a NaN
// in every format.
//
// Pointers carry the array they belong to, so an access outside it is found even where it lands in
// another array. The red zones find what evades that: they are checked at the end of each block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "simt_emulator/shadow_memory.hpp"

namespace isoflop::emulator {

/// One array. Offsets are from the begin of the block's shared memory.
struct SharedRegion {
    std::string name;
    std::size_t begin = 0;
    std::size_t bytes = 0;
    const void* key = nullptr;  // tells declarations apart
};

class SharedMemory {
public:
    static constexpr std::size_t red_zone_bytes = 128;
    /// The most that a block of any GPU so far can ask for (compute capability 9.0 and 10.0).
    static constexpr std::size_t max_bytes = 227 * 1024;
    /// What needs no opt-in, and the limit of static arrays.
    static constexpr std::size_t max_static_bytes = 48 * 1024;
    static constexpr unsigned char poison = 0xFF;
    static constexpr unsigned char red_zone = 0xAB;

    explicit SharedMemory(const Clocks& clocks) : shadow_(clocks) {}

    /// The array with this key, made at its first use in a launch: every block has the same layout.
    const SharedRegion& declare(const void* key, const std::string& name, std::size_t bytes);
    /// A part of the array `whole` as an array of its own.
    const SharedRegion& part(const SharedRegion& whole, std::size_t begin, std::size_t bytes);

    void start_block(int warps);
    /// The name of an array next to which a red zone was overwritten, or nullptr.
    [[nodiscard]] const std::string* damaged() const;

    [[nodiscard]] std::byte* data(std::size_t begin) { return bytes_.data() + begin; }
    [[nodiscard]] ShadowMemory& shadow() { return shadow_; }
    /// Sum of all arrays, without red zones.
    [[nodiscard]] std::size_t used_bytes() const { return used_bytes_; }

private:
    std::deque<SharedRegion> arrays_;  // addresses stay
    std::deque<SharedRegion> parts_;
    std::vector<std::byte> bytes_;
    std::size_t used_bytes_ = 0;
    ShadowMemory shadow_;
};

}  // namespace isoflop::emulator
