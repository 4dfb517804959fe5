// Products of tiles by mma.m16n8k16. With g = lane / 4 and t = lane % 4, the lane holds of a
// 16 x 8 accumulator c0, c1: row g, columns 2t, 2t+1; c2, c3: the same of row g + 8. So the four
// lanes of a quad share two rows, and two accumulators side by side are, packed to 16 bits, the A
// fragment of a product over their columns: probabilities never leave the registers.
#pragma once

#include <cstdint>

#include "attention/tensor_cores/shared_tile.hpp"

namespace isoflop::attention::tensor_cores {

/// Accumulators of (16 m) x (8 n) elements.
template <int m, int n>
struct Accumulator {
    static constexpr int row_tiles = m;
    static constexpr int column_tiles = n;
    float at[m][n][4];

    SIMT_DEVICE void clear() {
        SIMT_UNROLL
        for (int r = 0; r < m; ++r) {
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                SIMT_UNROLL
                for (int i = 0; i < 4; ++i) at[r][c][i] = 0.0F;
            }
        }
    }
    SIMT_DEVICE void multiply_by(float factor) {
        SIMT_UNROLL
        for (int r = 0; r < m; ++r) {
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                SIMT_UNROLL
                for (int i = 0; i < 4; ++i) at[r][c][i] *= factor;
            }
        }
    }
};

/// Row or column of an accumulator's element in its 16 x 8 piece.
SIMT_DEVICE int row_in_piece(int element) {
    return simt::lane_index() / 4 + 8 * (element / 2);
}
SIMT_DEVICE int column_in_piece(int element) {
    return 2 * (simt::lane_index() % 4) + element % 2;
}

/// A fragment of rows `row`... and of columns 16 `step`... of a tile.
template <class Tile>
SIMT_DEVICE void load_a(std::uint32_t (&a)[4], const Shared<typename Tile::Element>& tile, int row,
                        int step) {
    const int lane = simt::lane_index();
    simt::ldmatrix(a, Tile::lane_address(tile, row, lane & 15, 2 * step, lane >> 4));
}

/// The same of the transpose of a tile: rows are columns `column`... of the tile, the depth its
/// rows 16 `step`...
template <class Tile>
SIMT_DEVICE void load_a_transposed(std::uint32_t (&a)[4],
                                   const Shared<typename Tile::Element>& tile, int column,
                                   int step) {
    const int lane = simt::lane_index();
    simt::ldmatrix_transposed(a, Tile::lane_address(tile, 16 * step, (lane & 7) + 8 * (lane >> 4),
                                                    column / kChunk, lane >> 3 & 1));
}

/// The same from the values of a product: its columns 16 `step`... become the depth.
template <class T, int m, int n>
SIMT_DEVICE void pack_a(std::uint32_t (&a)[4], const Accumulator<m, n>& values, int row_tile,
                        int step) {
    const float(&left)[4] = values.at[row_tile][2 * step];
    const float(&right)[4] = values.at[row_tile][2 * step + 1];
    a[0] = simt::pack_pair<T>(left[0], left[1]);
    a[1] = simt::pack_pair<T>(left[2], left[3]);
    a[2] = simt::pack_pair<T>(right[0], right[1]);
    a[3] = simt::pack_pair<T>(right[2], right[3]);
}

/// What is easily wrong in a kernel, by name: tests put a faulty one in the place of each and see
/// that they notice.
struct Steps {
    /// B fragments of two neighbouring columns of pieces, from a tile that is stored with these
    /// columns as rows, `row`..., and depth 16 `step`...
    template <class Tile>
    SIMT_DEVICE static void load_b(std::uint32_t (&b)[4],
                                   const Shared<typename Tile::Element>& tile, int row, int step) {
        const int lane = simt::lane_index();
        simt::ldmatrix(b, Tile::lane_address(tile, row, (lane & 7) + 8 * (lane >> 4), 2 * step,
                                             lane >> 3 & 1));
    }
    /// The same from a tile that is stored with the depth as rows, `row`..., and columns
    /// 16 `step`...
    template <class Tile>
    SIMT_DEVICE static void load_b_transposed(std::uint32_t (&b)[4],
                                              const Shared<typename Tile::Element>& tile, int row,
                                              int step) {
        const int lane = simt::lane_index();
        simt::ldmatrix_transposed(b, Tile::lane_address(tile, row, lane & 15, 2 * step, lane >> 4));
    }

    /// After it all threads may read what all threads have copied, and no thread reads the copies
    /// before these any more; the next copies, which overwrite them, are begun.
    template <class StartNext>
    SIMT_DEVICE static void advance(const StartNext& start_next) {
        simt::cp_async_wait_all();
        simt::sync_threads();
        start_next();
        simt::cp_async_commit();
    }

    /// After it the warps may read what each of them has put into shared memory.
    SIMT_DEVICE static void exchange() { simt::sync_threads(); }

    /// A warp may read what its own lanes have copied.
    SIMT_DEVICE static void arrive() {
        simt::cp_async_wait_all();
        simt::sync_warp();
    }

    /// First key that a query must not see, where causal.
    SIMT_DEVICE static int causal_limit(int query, int keys_before_first_query) {
        return query + 1 + keys_before_first_query;
    }
    SIMT_DEVICE static int kv_head(int head, int heads_per_kv_head) {
        return head / heads_per_kv_head;
    }
    /// First of the heads that read a key/value head.
    SIMT_DEVICE static int first_head(int kv_head, int heads_per_kv_head) {
        return kv_head * heads_per_kv_head;
    }
};

template <class T, int m, int n>
SIMT_DEVICE void multiply_pair(Accumulator<m, n>& d, const std::uint32_t (&a)[m][4],
                               const std::uint32_t (&b)[4], int pair) {
    const std::uint32_t left[2] = {b[0], b[1]};
    const std::uint32_t right[2] = {b[2], b[3]};
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        simt::mma_m16n8k16<T>(d.at[r][2 * pair], a[r], left);
        simt::mma_m16n8k16<T>(d.at[r][2 * pair + 1], a[r], right);
    }
}

/// d += A B^T with A the first rows of a tile, or of what is left of it, and B all rows of another.
/// `unroll` is how many steps the compiler may arrange together: with all of them it sometimes
/// loads so far ahead that registers spill.
template <class ATile, class BTile, class Steps, int unroll = ATile::columns / 16, int m, int n>
SIMT_DEVICE void multiply_tiles(Accumulator<m, n>& d, const Shared<typename ATile::Element>& a_tile,
                                const Shared<typename BTile::Element>& b_tile) {
    static_assert(BTile::rows == 8 * n && ATile::columns == BTile::columns);
    SIMT_UNROLL_BY(unroll)
    for (int step = 0; step < ATile::columns / 16; ++step) {
        std::uint32_t a[m][4];
        SIMT_UNROLL
        for (int r = 0; r < m; ++r) load_a<ATile>(a[r], a_tile, 16 * r, step);
        SIMT_UNROLL
        for (int pair = 0; pair < n / 2; ++pair) {
            std::uint32_t b[4];
            Steps::template load_b<BTile>(b, b_tile, 16 * pair, step);
            multiply_pair<typename ATile::Element>(d, a, b, pair);
        }
    }
}

/// d += A B with A the values of an earlier product, and B a whole tile.
template <class BTile, class Steps, int m, int k, int n>
SIMT_DEVICE void multiply_values(Accumulator<m, n>& d, const Accumulator<m, k>& values,
                                 const Shared<typename BTile::Element>& b_tile) {
    static_assert(BTile::rows == 8 * k && BTile::columns == 8 * n);
    SIMT_UNROLL
    for (int step = 0; step < k / 2; ++step) {
        std::uint32_t a[m][4];
        SIMT_UNROLL
        for (int r = 0; r < m; ++r) pack_a<typename BTile::Element>(a[r], values, r, step);
        SIMT_UNROLL
        for (int pair = 0; pair < n / 2; ++pair) {
            std::uint32_t b[4];
            Steps::template load_b_transposed<BTile>(b, b_tile, 16 * step, pair);
            multiply_pair<typename BTile::Element>(d, a, b, pair);
        }
    }
}

/// Rounds to 16 bits and puts into rows `row`... and chunks `chunk`... of a tile. Every lane of the
/// warp must be through with what was there.
template <class Tile, int m, int n>
SIMT_DEVICE void put_into_columns(const Shared<typename Tile::Element>& tile, int row, int chunk,
                                  const Accumulator<m, n>& values) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int c = 0; c < n; ++c) {
            SIMT_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int at = Tile::offset(row + 16 * r + row_in_piece(2 * half), chunk + c);
                simt::store(simt::pointer_cast<std::uint32_t>(tile + (at + column_in_piece(0))),
                            simt::pack_pair<typename Tile::Element>(values.at[r][c][2 * half],
                                                                    values.at[r][c][2 * half + 1]));
            }
        }
    }
}

/// The same with whole rows.
template <class Tile, int m, int n>
SIMT_DEVICE void put_into_tile(const Shared<typename Tile::Element>& tile, int row,
                               const Accumulator<m, n>& values) {
    static_assert(Tile::columns == 8 * n);
    put_into_columns<Tile>(tile, row, 0, values);
}

/// Floats that hold the values of a 16 x 8 piece in memory that only its warp uses: each lane has
/// its four side by side, so that any lane finds again what it has put there itself.
inline constexpr int kPieceFloats = 4 * simt::warp_lanes;

/// `place` is that of the first piece.
template <int m, int n>
SIMT_DEVICE void save_pieces(const Global<float>& place, const Accumulator<m, n>& values) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int c = 0; c < n; ++c) {
            const float(&at)[4] = values.at[r][c];
            simt::store_vector(place + ((r * n + c) * kPieceFloats + 4 * simt::lane_index()),
                               simt::Vector16<float>{{at[0], at[1], at[2], at[3]}});
        }
    }
}
template <int m, int n>
SIMT_DEVICE void restore_pieces(const Global<float>& place, Accumulator<m, n>& values) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int c = 0; c < n; ++c) {
            const simt::Vector16<float> saved =
                simt::load_vector(place + ((r * n + c) * kPieceFloats + 4 * simt::lane_index()));
            SIMT_UNROLL
            for (int i = 0; i < 4; ++i) values.at[r][c][i] = saved.values[i];
        }
    }
}

/// Over the four lanes that share a row of an accumulator.
SIMT_DEVICE float quad_sum(float value) {
    value += simt::shuffle_xor(value, 1);
    return value + simt::shuffle_xor(value, 2);
}
SIMT_DEVICE float quad_maximum(float value) {
    value = fmaxf(value, simt::shuffle_xor(value, 1));
    return fmaxf(value, simt::shuffle_xor(value, 2));
}

}  // namespace isoflop::attention::tensor_cores
