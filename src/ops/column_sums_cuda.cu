// Rows are cut into chunks by their number alone. Each block sums one chunk of a tile of columns:
// its warps take the rows in turn, and their sums are added in order of warps. A second kernel adds
// the chunks in order.
#include <algorithm>

#include "isoflop/ops/cuda/elements.hpp"
#include "isoflop/ops/cuda/support.hpp"
#include "isoflop/ops/reduction.hpp"
#include "ops/cuda_grid.hpp"

namespace isoflop::ops::cuda {
namespace {

constexpr int kWarps = kBlockThreads / simt::warp_lanes;

/// Enough chunks to fill a GPU with narrow matrices, few enough to keep the partial sums small.
[[nodiscard]] std::int64_t rows_per_chunk(std::int64_t rows, std::int64_t columns) {
    const auto most = static_cast<std::int64_t>(device::kScratchBytes / sizeof(float)) / columns;
    const std::int64_t chunks = std::clamp<std::int64_t>(most, 1, 128);
    return std::max<std::int64_t>(8 * kWarps, (rows + chunks - 1) / chunks);
}

/// Grid: tiles of warp_lanes * kWidth columns, chunks. A lane sums kWidth neighbouring columns.
template <class T, int kWidth>
SIMT_KERNEL void column_sums(simt::Global<float> partials, simt::Global<const T> matrix,
                             std::int64_t rows, std::int64_t columns, std::int64_t chunk_rows) {
    constexpr int kTile = simt::warp_lanes * kWidth;
    SIMT_SHARED_ARRAY(float, warp_sums, kWarps* kTile);
    const int warp = simt::warp_index();
    const std::int64_t in_tile = simt::lane_index() * kWidth;
    const std::int64_t first_column = static_cast<std::int64_t>(simt::block_index().x) * kTile;
    const std::int64_t begin = simt::block_index().y * chunk_rows;
    const std::int64_t end = begin + chunk_rows < rows ? begin + chunk_rows : rows;
    float sums[kWidth] = {};
    if (first_column + in_tile < columns) {
        for (std::int64_t row = begin + warp; row < end; row += kWarps) {
            const auto from = matrix + (row * columns + first_column + in_tile);
            if constexpr (kWidth == 1) {
                sums[0] += simt::to_float(simt::load(from));
            } else {
                const simt::Vector16<T> values = simt::load_vector(from);
                for (int i = 0; i < kWidth; ++i) sums[i] += simt::to_float(values.values[i]);
            }
        }
    }
    constexpr int kPart = kWidth < 4 ? kWidth : 4;
    for (int i = 0; i < kWidth; i += kPart) {
        Pack<float, kPart> part;
        for (int k = 0; k < kPart; ++k) part.values[k] = sums[i + k];
        store_pack(warp_sums + (warp * kTile + in_tile + i), part);
    }
    simt::sync_threads();
    const int column = simt::thread_index().x;
    if (column >= kTile || first_column + column >= columns) return;
    float total = 0;
    for (int i = 0; i < kWarps; ++i) total += simt::load(warp_sums + (i * kTile + column));
    simt::store(partials + (simt::block_index().y * columns + first_column + column), total);
}

template <class T>
SIMT_KERNEL void add_chunks(simt::Global<T> sums, simt::Global<const float> partials,
                            std::int64_t columns, std::int64_t chunks) {
    for (std::int64_t column = grid_thread(); column < columns; column += grid_threads()) {
        float total = 0;
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
            total += simt::load(partials + (chunk * columns + column));
        }
        const float before = simt::to_float(simt::load(sums + column));
        simt::store(sums + column, simt::round_to<T>(before + total));
    }
}

template <class T, int kWidth>
void sum_columns(Context& context, float* partials, const T* matrix, std::int64_t rows,
                 std::int64_t columns, std::int64_t chunk_rows) {
    constexpr int kTile = simt::warp_lanes * kWidth;
    const auto tiles = static_cast<int>((columns + kTile - 1) / kTile);
    const auto chunks = static_cast<int>((rows + chunk_rows - 1) / chunk_rows);
    simt::launch({.name = "column_sums",
                  .grid = {tiles, chunks},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 column_sums<T, kWidth>, partials, matrix, rows, columns, chunk_rows);
}

}  // namespace

void add_column_sums(Context& context, const TensorView& matrix, const TensorView& sums) {
    const std::int64_t rows = matrix.dim(0);
    const std::int64_t columns = matrix.dim(1);
    if (rows == 0 || columns == 0) return;
    const std::int64_t chunk_rows = rows_per_chunk(rows, columns);
    const std::int64_t chunks = (rows + chunk_rows - 1) / chunk_rows;
    auto* const partials = reinterpret_cast<float*>(context.device.scratch());
    visit_storage(matrix.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = data<T>(matrix);
        if (is_vectorizable(values, columns)) {
            sum_columns<T, simt::Vector16<T>::size>(context, partials, values, rows, columns,
                                                    chunk_rows);
        } else {
            sum_columns<T, 1>(context, partials, values, rows, columns, chunk_rows);
        }
        simt::launch({.name = "add_chunks",
                      .grid = {blocks_for(columns, kBlockThreads)},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     add_chunks<T>, data<T>(sums), partials, columns, chunks);
    });
}

}  // namespace isoflop::ops::cuda
