// What a block of a kernel takes of a multiprocessor, and what the architectures have.
#pragma once

#include <array>

namespace isoflop::attention::tensor_cores {

/// Shared memory that a block can opt in to.
struct ArchitectureClass {
    const char* name;
    int block_bytes;
    int multiprocessor_bytes;  ///< a block takes 1 KiB more than it asks for
};
inline constexpr ArchitectureClass kArchitectureClasses[] = {
    {"sm_86, sm_89, sm_120", 99 * 1024, 100 * 1024},
    {"sm_80", 163 * 1024, 164 * 1024},
    {"sm_90, sm_100", 227 * 1024, 228 * 1024},
};
inline constexpr int kMultiprocessorRegisters = 64 * 1024;

struct TileShape {
    int head_dim;
    int query_tile;
    int key_tile;
    int warps;
    int shared_bytes;
    int registers;  ///< of a thread, at most
};

[[nodiscard]] constexpr TileShape tile_for(const std::array<TileShape, 5>& table, int head_dim) {
    for (const TileShape& shape : table) {
        if (shape.head_dim == head_dim) return shape;
    }
    return {};
}

/// Blocks that run side by side on one multiprocessor.
[[nodiscard]] constexpr int blocks_per_multiprocessor(const TileShape& shape,
                                                      const ArchitectureClass& architecture) {
    const int by_memory = architecture.multiprocessor_bytes / (shape.shared_bytes + 1024);
    const int granted = (shape.registers + 7) / 8 * 8;
    const int by_registers = kMultiprocessorRegisters / (granted * 32 * shape.warps);
    return by_memory < by_registers ? by_memory : by_registers;
}

[[nodiscard]] constexpr bool fits_everywhere(const std::array<TileShape, 5>& table) {
    for (const TileShape& shape : table) {
        for (const ArchitectureClass& architecture : kArchitectureClasses) {
            if (shape.shared_bytes > architecture.block_bytes) return false;
            if (blocks_per_multiprocessor(shape, architecture) < 1) return false;
        }
        if (shape.registers > 255) return false;
    }
    return true;
}

}  // namespace isoflop::attention::tensor_cores
