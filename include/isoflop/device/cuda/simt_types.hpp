// Types and constants of the kernel vocabulary that are the same on a GPU and in the emulator. See
// simt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // CUDA's; nothing of it is needed under the host compiler

namespace isoflop::simt {

inline constexpr int warp_lanes = 32;
inline constexpr int block_barriers = 16;  // barrier 0 is that of sync_threads
inline constexpr std::uint32_t all_lanes = 0xFFFF'FFFFU;

/// An extent of a grid or block, or a position in it.
struct Dim3 {
    int x = 1;
    int y = 1;
    int z = 1;
};

/// Storage of a bfloat16 or float16 number: its bits. Arithmetic is in float.
struct Bfloat16 {
    std::uint16_t bits;
};
struct Float16 {
    std::uint16_t bits;
};

/// 16 bytes, the widest access of one thread.
template <class T>
struct alignas(16) Vector16 {
    static constexpr int size = static_cast<int>(16 / sizeof(T));
    T values[static_cast<std::size_t>(size)];
};

using Stream = CUstream_st*;

/// How a kernel is launched. The name is for messages of failed launches and of the emulator.
struct Launch {
    const char* name = "";
    Dim3 grid{};
    Dim3 block{};
    std::size_t shared_bytes = 0;
    Stream stream = nullptr;
};

}  // namespace isoflop::simt
