// Tiles of 16-bit rows in shared memory: how they lie there, how they come and go.
//
// A row is a sequence of chunks of 16 bytes, which is what one lane of cp.async and of ldmatrix
// moves. ldmatrix reads one chunk of eight rows below each other: in plain row-major order they
// would share their banks. So the chunks of a row are permuted by an exclusive or with the row
// number, which puts any such eight, and any eight neighbours of one row, into different banks.
// Rows of 64, 128 or 256 elements begin at the same bank, hence three bits of the row; of 32 and 96
// elements (4 and 12 chunks) every second row begins at the same bank, hence two bits, from the
// second on; of 16 elements every fourth, hence one bit, the third.
#pragma once

#include <cstdint>

#include "isoflop/device/cuda/simt.hpp"

namespace isoflop::attention::tensor_cores {

using simt::Global;
using simt::Shared;

inline constexpr int kChunk = 8;  ///< elements of 16 bytes

template <class T, int tile_rows, int tile_columns>
struct Tile {
    using Element = T;
    static constexpr int rows = tile_rows;
    static constexpr int columns = tile_columns;
    static constexpr int row_chunks = columns / kChunk;
    static constexpr int elements = rows * columns;
    static constexpr int bytes = elements * static_cast<int>(sizeof(T));
    static_assert(sizeof(T) == 2 && rows % 8 == 0 && (row_chunks % 4 == 0 || row_chunks == 2));

    /// The bits of a chunk that are permuted, and by what in a row.
    static constexpr int permuted_bits = row_chunks == 2 ? 1 : row_chunks % 8 == 0 ? 7 : 3;
    SIMT_DEVICE static int key(int row) {
        constexpr int shift = permuted_bits == 7 ? 0 : permuted_bits == 3 ? 1 : 2;
        return row >> shift & permuted_bits;
    }

    /// Element at which a chunk of a row begins.
    SIMT_DEVICE static int offset(int row, int chunk) {
        return row * columns + (chunk ^ key(row)) * kChunk;
    }
    /// The address of chunk `chunk + lane_chunk` of row `row + lane_row`. The lane's part of the
    /// chunk is 0 or 1; the rest is even and `row` a multiple of 8, both known to the compiler. So
    /// there are few different exclusive ors, which all tiles share, and the rest is a constant.
    SIMT_DEVICE static Shared<T> lane_address(const Shared<T>& tile, int row, int lane_row,
                                              int chunk, int lane_chunk) {
        constexpr int mask = permuted_bits;
        const int permuted = (chunk & mask) ^ (key(lane_row) ^ lane_chunk);
        const int lane_part = lane_row * columns + permuted * kChunk;
        return tile + lane_part + (row * columns + (chunk & ~mask) * kChunk);
    }
};

/// Rows of one head of one sequence in global memory.
template <class T>
struct HeadRows {
    Global<T> data;
    std::int64_t stride = 0;
};

/// Which chunks a thread moves: of every `step`-th row, from `row` on, chunks `chunk`,
/// `chunk + lanes`... Neighbours have neighbouring chunks. The chunks of 32 and 96 columns are
/// taken four at a time.
template <class Tile, int threads>
struct ChunkOwner {
    static constexpr int lanes = Tile::row_chunks % 8 == 0 ? Tile::row_chunks : 4;
    static constexpr int step = threads / lanes;
    int row;
    int chunk;

    SIMT_DEVICE explicit ChunkOwner(int thread) : row(thread / lanes), chunk(thread % lanes) {}
};

template <class Tile, int threads, class T>
SIMT_DEVICE void copy_tile_by(const Shared<typename Tile::Element>& tile, const HeadRows<T>& rows,
                              int first, int end, int thread) {
    using Owner = ChunkOwner<Tile, threads>;
    const Owner mine(thread);
    Global<T> from = rows.data + ((static_cast<std::int64_t>(first) + mine.row) * rows.stride +
                                  mine.chunk * kChunk);
    SIMT_UNROLL
    for (int begin = 0; begin < Tile::rows; begin += Owner::step) {
        const int row = begin + mine.row;
        if (Tile::rows % Owner::step != 0 && row >= Tile::rows) continue;
        const int bytes = row < end - first ? 16 : 0;
        SIMT_UNROLL
        for (int chunk = 0; chunk < Tile::row_chunks; chunk += Owner::lanes) {
            simt::cp_async_16(tile + Tile::offset(row, mine.chunk + chunk), from + chunk * kChunk,
                              bytes);
        }
        // Added up, as the compiler would keep a product for each row in registers.
        from += Owner::step * rows.stride;
    }
}

/// Begins to copy rows [first, first + Tile::rows) to shared memory; those from `end` on become
/// zero and are not read: of an address with 0 bytes to copy nothing is asked.
template <class Tile, int threads, class T>
SIMT_DEVICE void copy_tile(const Shared<typename Tile::Element>& tile, const HeadRows<T>& rows,
                           int first, int end) {
    copy_tile_by<Tile, threads>(tile, rows, first, end, simt::thread_index().x);
}

/// The same by one warp for itself.
template <class Tile, class T>
SIMT_DEVICE void copy_warp_tile(const Shared<typename Tile::Element>& tile, const HeadRows<T>& rows,
                                int first, int end) {
    copy_tile_by<Tile, simt::warp_lanes>(tile, rows, first, end, simt::lane_index());
}

/// A warp writes its `count` rows of the tile, from row `local` on, to rows `first + local`... of
/// global memory; those from `end` on do not exist. 16 bytes per lane, neighbours side by side.
template <class Tile, int count, class T>
SIMT_DEVICE void store_rows(const HeadRows<T>& rows, const Shared<T>& tile, int local, int first,
                            int end) {
    using Owner = ChunkOwner<Tile, simt::warp_lanes>;
    const Owner mine(simt::lane_index());
    static_assert(count % Owner::step == 0);
    Global<T> to =
        rows.data +
        ((static_cast<std::int64_t>(first) + local + mine.row) * rows.stride + mine.chunk * kChunk);
    SIMT_UNROLL
    for (int begin = 0; begin < count; begin += Owner::step) {
        const int row = local + begin + mine.row;
        SIMT_UNROLL
        for (int chunk = 0; chunk < Tile::row_chunks; chunk += Owner::lanes) {
            if (first + row >= end) continue;
            simt::store_vector(to + chunk * kChunk,
                               simt::load_vector(tile + Tile::offset(row, mine.chunk + chunk)));
        }
        to += Owner::step * rows.stride;
    }
}

/// A warp writes 16 rows of some columns of the tile, `chunks` chunks from `chunk` on. Lanes go
/// down the rows, so that eight neighbours read different banks; two chunks are the sector that a
/// row gets at once.
template <class Tile, int chunks, class T>
SIMT_DEVICE void store_columns(const HeadRows<T>& rows, const Shared<T>& tile, int local, int chunk,
                               int first, int end) {
    static_assert(chunks % 2 == 0);
    const int row = local + simt::lane_index() % 16;
    if (first + row >= end) return;
    const Global<T> to = rows.data + (static_cast<std::int64_t>(first) + row) * rows.stride;
    SIMT_UNROLL
    for (int pair = 0; pair < chunks; pair += 2) {
        const int mine = chunk + pair + simt::lane_index() / 16;
        simt::store_vector(to + mine * kChunk, simt::load_vector(tile + Tile::offset(row, mine)));
    }
}

}  // namespace isoflop::attention::tensor_cores
