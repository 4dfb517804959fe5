// Bitonic sort (Batcher 1968): a network of exchanges that does not depend on the data. Exchanges
// over less than a tile are made in shared memory, all of them in one launch; those over longer
// distances take a launch each. 2^16 keys need 15 launches.
#include "ops/cuda_sort.hpp"

#include <algorithm>
#include <bit>

#include "isoflop/ops/cuda/support.hpp"
#include "ops/cuda_grid.hpp"

namespace isoflop::ops::cuda {
namespace {

/// Keys that a block sorts in shared memory, 16 KiB.
constexpr std::int64_t kTile = 2048;
constexpr std::uint64_t kNoToken = ~std::uint64_t{0};

/// The lower one of pair `i` of those that are `distance` apart.
SIMT_DEVICE std::int64_t lower_of_pair(std::int64_t i, std::int64_t distance) {
    return 2 * i - (i & (distance - 1));
}

template <class Pointer>
SIMT_DEVICE void exchange(const Pointer& keys, std::int64_t lower, std::int64_t distance,
                          bool rising) {
    const std::uint64_t a = simt::load(keys + lower);
    const std::uint64_t b = simt::load(keys + (lower + distance));
    if ((a > b) != rising) return;
    simt::store(keys + lower, b);
    simt::store(keys + (lower + distance), a);
}

/// All exchanges of a stage in the block's tile from `distance` down. `size` of the stage: blocks
/// of so many keys become sorted, rising and falling in turn.
SIMT_DEVICE void exchange_in_tile(simt::Shared<std::uint64_t> tile, std::int64_t first,
                                  std::int64_t tile_size, std::int64_t size,
                                  std::int64_t distance) {
    for (; distance > 0; distance /= 2) {
        for (std::int64_t i = simt::thread_index().x; i < tile_size / 2; i += kBlockThreads) {
            const std::int64_t lower = lower_of_pair(i, distance);
            exchange(tile, lower, distance, ((first + lower) & size) == 0);
        }
        simt::sync_threads();
    }
}

/// Makes the keys and sorts each tile.
SIMT_KERNEL void sort_tiles(simt::Global<std::uint64_t> keys,
                            simt::Global<const std::int32_t> tokens, std::int64_t count,
                            std::int64_t tile_size) {
    SIMT_SHARED_ARRAY(std::uint64_t, tile, kTile);
    const std::int64_t first = simt::block_index().x * tile_size;
    for (std::int64_t i = simt::thread_index().x; i < tile_size; i += kBlockThreads) {
        const std::int64_t place = first + i;
        std::uint64_t key = kNoToken;
        if (place < count) {
            const auto token = static_cast<std::uint32_t>(simt::load(tokens + place));
            key = static_cast<std::uint64_t>(token) << 32U | static_cast<std::uint64_t>(place);
        }
        simt::store(tile + i, key);
    }
    simt::sync_threads();
    for (std::int64_t size = 2; size <= tile_size; size *= 2) {
        exchange_in_tile(tile, first, tile_size, size, size / 2);
    }
    for (std::int64_t i = simt::thread_index().x; i < tile_size; i += kBlockThreads) {
        simt::store(keys + (first + i), simt::load(tile + i));
    }
}

/// The last exchanges of a stage, over less than a tile.
SIMT_KERNEL void merge_tiles(simt::Global<std::uint64_t> keys, std::int64_t size) {
    SIMT_SHARED_ARRAY(std::uint64_t, tile, kTile);
    const std::int64_t first = simt::block_index().x * kTile;
    for (std::int64_t i = simt::thread_index().x; i < kTile; i += kBlockThreads) {
        simt::store(tile + i, simt::load(keys + (first + i)));
    }
    simt::sync_threads();
    exchange_in_tile(tile, first, kTile, size, kTile / 2);
    for (std::int64_t i = simt::thread_index().x; i < kTile; i += kBlockThreads) {
        simt::store(keys + (first + i), simt::load(tile + i));
    }
}

SIMT_KERNEL void exchange_far(simt::Global<std::uint64_t> keys, std::int64_t pairs,
                              std::int64_t size, std::int64_t distance) {
    for (std::int64_t i = grid_thread(); i < pairs; i += grid_threads()) {
        const std::int64_t lower = lower_of_pair(i, distance);
        exchange(keys, lower, distance, (lower & size) == 0);
    }
}

}  // namespace

std::int64_t sort_by_token(device::Context& context, std::span<const std::int32_t> tokens,
                           std::uint64_t* keys) {
    const auto count =
        static_cast<std::int64_t>(std::bit_ceil(std::max<std::size_t>(tokens.size(), 1)));
    const std::int64_t tile_size = std::min(count, kTile);
    const auto tiles = static_cast<int>(count / tile_size);
    simt::launch({.name = "sort_tiles",
                  .grid = {tiles},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 sort_tiles, keys, tokens.data(), static_cast<std::int64_t>(tokens.size()),
                 tile_size);
    for (std::int64_t size = 2 * kTile; size <= count; size *= 2) {
        for (std::int64_t distance = size / 2; distance >= kTile; distance /= 2) {
            simt::launch({.name = "exchange_far",
                          .grid = {blocks_for(count / 2, kBlockThreads)},
                          .block = {kBlockThreads},
                          .stream = stream_of(context)},
                         exchange_far, keys, count / 2, size, distance);
        }
        simt::launch({.name = "merge_tiles",
                      .grid = {tiles},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     merge_tiles, keys, size);
    }
    return count;
}

}  // namespace isoflop::ops::cuda
