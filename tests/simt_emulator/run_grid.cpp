#include <algorithm>
#include <numeric>

#include "simt_emulator/block.hpp"

namespace isoflop::emulator {
namespace {

void check(bool accepted, const Grid& grid, const std::string& what) {
    if (!accepted) {
        throw KernelFault(FaultKind::unsupported_launch,
                          "kernel " + grid.kernel_name + ": " + what);
    }
}

/// Limits of all GPUs since compute capability 7.0 (CUDA C++ Programming Guide, Technical
/// Specifications per Compute Capability).
void check_extents(const Grid& grid) {
    const simt::Dim3& blocks = grid.blocks;
    const simt::Dim3& threads = grid.block_threads;
    check(blocks.x > 0 && blocks.y > 0 && blocks.z > 0 && blocks.y <= 65535 && blocks.z <= 65535,
          grid, "a grid needs 1 to 2147483647 x 65535 x 65535 blocks");
    check(threads.x > 0 && threads.y > 0 && threads.z > 0 && threads.x <= 1024 &&
              threads.y <= 1024 && threads.z <= 64 && threads.x * threads.y * threads.z <= 1024,
          grid, "a block needs 1 to 1024 threads, at most 64 of them in z");
    check(grid.dynamic_shared_bytes <= SharedMemory::max_bytes, grid,
          std::to_string(grid.dynamic_shared_bytes) +
              " bytes of dynamic shared memory; no GPU has more than 227 KiB");
}

std::vector<std::int64_t> block_order(const Grid& grid) {
    const std::int64_t blocks = std::int64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
    std::vector<std::int64_t> order(static_cast<std::size_t>(blocks));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    if (grid.options.order == Order::random) {
        std::mt19937_64 random(grid.options.seed);
        std::shuffle(order.begin(), order.end(), random);
    }
    return order;
}

}  // namespace

void run_grid(const Grid& grid) {
    check_extents(grid);
    Block block(grid);
    for (const std::int64_t number : block_order(grid)) {
        block.run({static_cast<int>(number % grid.blocks.x),
                   static_cast<int>(number / grid.blocks.x % grid.blocks.y),
                   static_cast<int>(number / grid.blocks.x / grid.blocks.y)});
    }
    if (Session* session = Session::current()) session->add(block.counters());
}

}  // namespace isoflop::emulator
