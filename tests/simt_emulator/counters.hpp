// What a launch did to memory, as a GPU would count it.
//
// A request is one instruction of a warp. Its sectors are the 32-byte pieces of global memory that
// it touches: 4 for 32 neighbouring floats. Shared memory has 32 banks of 4 bytes; a request takes
// one wavefront for 32 lanes of up to 4 bytes, 16 lanes of 8 or 8 lanes of 16, and extra ones where
// lanes want different words of one bank.
#pragma once

#include <cstdint>

namespace isoflop::emulator {

struct MemoryCount {
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;    // asked for, by all lanes
    std::uint64_t sectors = 0;  // of 32 bytes

    bool operator==(const MemoryCount&) const = default;
};

struct SharedCount {
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
    std::uint64_t wavefronts = 0;
    std::uint64_t extra_wavefronts = 0;  // bank conflicts

    bool operator==(const SharedCount&) const = default;
};

struct Counters {
    MemoryCount global_load;  // cp.async too
    MemoryCount global_store;
    MemoryCount global_atomic;
    SharedCount shared_load;   // ldmatrix too
    SharedCount shared_store;  // cp.async too
    SharedCount shared_atomic;
    std::uint64_t matrix_products = 0;  // mma instructions, one per warp
    std::uint64_t block_barriers = 0;   // completed barriers, named ones too
    std::uint64_t warp_barriers = 0;

    bool operator==(const Counters&) const = default;
};

}  // namespace isoflop::emulator
