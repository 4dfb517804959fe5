// The second stage of parameter gradients: every block has left its sums over rows in scratch
// memory; they are added in the order of blocks.
#pragma once

#include <stdexcept>

#include "isoflop/ops/cuda/elements.hpp"

namespace isoflop::ops::cuda {

/// Sums that blocks leave: [blocks, columns].
struct PartialSums {
    float* sums = nullptr;
    std::int64_t columns = 0;
    int blocks = 0;
};

/// For at most `blocks` blocks, fewer where scratch memory would not hold their sums.
[[nodiscard]] inline PartialSums partial_sums(const Context& context, std::int64_t columns,
                                              int blocks) {
    const auto most = static_cast<std::int64_t>(device::kScratchBytes / sizeof(float)) / columns;
    if (most == 0) throw std::invalid_argument("CUDA op: a row is too long for scratch memory");
    return {.sums = reinterpret_cast<float*>(context.device.scratch()),
            .columns = columns,
            .blocks = static_cast<int>(std::min<std::int64_t>(blocks, most))};
}

/// Each warp adds a part of the blocks, the first one then the parts.
template <class T>
SIMT_KERNEL void add_partial_sums_kernel(simt::Global<T> out, simt::Global<const float> sums,
                                         std::int64_t columns, std::int64_t row_columns, int rows,
                                         int width) {
    constexpr int warps = kBlockThreads / simt::warp_lanes;
    SIMT_SHARED_ARRAY(float, parts, kBlockThreads);
    const int lane = simt::lane_index();
    const std::int64_t column =
        static_cast<std::int64_t>(simt::block_index().x) * simt::warp_lanes + lane;
    if (column < columns) {
        const std::int64_t place = float_place(column, columns, width);
        float part = 0.0F;
        for (int row = simt::warp_index(); row < rows; row += warps)
            part += simt::load(sums + row * row_columns + place);
        simt::store(parts + simt::thread_index().x, part);
    }
    simt::sync_threads();
    if (column < columns && simt::warp_index() == 0) {
        float sum = 0.0F;
        for (int warp = 0; warp < warps; ++warp)
            sum += simt::load(parts + warp * simt::warp_lanes + lane);
        simt::store(out + column,
                    simt::round_to<T>(simt::to_float(simt::load(out + column)) + sum));
    }
}

/// out[c] += the sums of all blocks for column first + c; `columns` of them, in the order of
/// float_place for packs of `width`.
template <class T>
void add_partial_sums(const Context& context, const PartialSums& partials, std::int64_t first,
                      std::int64_t columns, int width, T* out) {
    const auto blocks = static_cast<int>((columns + simt::warp_lanes - 1) / simt::warp_lanes);
    simt::launch({.name = "add_partial_sums",
                  .grid = {blocks},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 add_partial_sums_kernel<T>, out, partials.sums + first, columns, partials.columns,
                 partials.blocks, width);
}

}  // namespace isoflop::ops::cuda
