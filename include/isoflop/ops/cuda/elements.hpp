// Access to elements in kernels: packs of neighbouring elements that a thread accesses at once,
// functions over flat tensors, and rows of floats in shared memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "isoflop/ops/cuda/support.hpp"

namespace isoflop::ops::cuda {

/// `width` neighbouring elements of at most 16 bytes together.
template <class T, int width>
struct alignas(sizeof(T) * static_cast<std::size_t>(width)) Pack {
    T values[static_cast<std::size_t>(width)];
};

template <int width, class Pointer>
SIMT_DEVICE auto load_pack(const Pointer& from) {
    using T = decltype(simt::load(from));
    return simt::load(simt::pointer_cast<const Pack<T, width>>(from));
}

template <class Pointer, class T, int width>
SIMT_DEVICE void store_pack(const Pointer& to, const Pack<T, width>& pack) {
    simt::store(simt::pointer_cast<Pack<T, width>>(to), pack);
}

/// Elements of a full access: 16 bytes.
template <class T>
inline constexpr int kPackWidth = simt::Vector16<T>::size;

/// The results of `operation` on the elements at each place of the packs.
template <class Result, int width, class Operation, class... Packs>
SIMT_DEVICE Pack<Result, width> map_packs(const Operation& operation, const Packs&... packs) {
    Pack<Result, width> results;
    for (int i = 0; i < width; ++i) {
        results.values[i] = simt::round_to<Result>(operation(simt::to_float(packs.values[i])...));
    }
    return results;
}

/// out[i] = operation(inputs[i]...), of which the first `packs` * width elements in packs.
template <class Result, int width, class Operation, class... Inputs>
SIMT_KERNEL void map_elements_kernel(Operation operation, std::int64_t packs, std::int64_t count,
                                     simt::Global<Result> out, Inputs... inputs) {
    const std::int64_t threads = simt::block_size().x;
    const std::int64_t first = simt::block_index().x * threads + simt::thread_index().x;
    const std::int64_t step = simt::grid_size().x * threads;
    for (std::int64_t i = first; i < packs; i += step) {
        store_pack(out + i * width,
                   map_packs<Result, width>(operation, load_pack<width>(inputs + i * width)...));
    }
    for (std::int64_t i = packs * width + first; i < count; i += step) {
        simt::store(out + i,
                    simt::round_to<Result>(operation(simt::to_float(simt::load(inputs + i))...)));
    }
}

/// Launches out[i] = operation(inputs[i]...) for i < count; `out` may be one of the inputs.
template <class Result, class Operation, class... Inputs>
void map_elements(const Context& context, const char* name, std::int64_t count,
                  const Operation& operation, Result* out, const Inputs*... inputs) {
    if (count == 0) return;
    constexpr int width = std::min({kPackWidth<Result>, kPackWidth<Inputs>...});
    const bool has_packs = (is_vectorizable(out) && ... && is_vectorizable(inputs));
    const std::int64_t packs = has_packs ? count / width : 0;
    simt::launch({.name = name,
                  .grid = {blocks_for(has_packs ? packs : count, kBlockThreads)},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 map_elements_kernel<Result, width, Operation, simt::Global<const Inputs>...>,
                 operation, packs, count, out, inputs...);
}

/// True when packs fit into all rows of tensors with this row length; empty tensors do not matter.
template <class T>
[[nodiscard]] bool are_vectorizable(std::int64_t row_length,
                                    std::initializer_list<TensorView> tensors) {
    return std::all_of(tensors.begin(), tensors.end(), [&](const TensorView& tensor) {
        return is_vectorizable(data<T>(tensor), row_length);
    });
}

/// Columns of this thread in kernels that row_launch() launches: first, first + step, ..., packs
/// of `width` each. Rows are block_index().y, + grid_size().y, ...
struct ColumnRange {
    std::int64_t first;
    std::int64_t step;
};

template <int width>
SIMT_DEVICE ColumnRange own_columns() {
    const std::int64_t threads = simt::block_size().x;
    return {(simt::block_index().x * threads + simt::thread_index().x) * width,
            simt::grid_size().x * threads * width};
}

/// A thread for each pack of a row, rows side by side: no division to find out which row.
[[nodiscard]] inline simt::Launch row_launch(const Context& context, const char* name,
                                             std::int64_t rows, std::int64_t packs) {
    constexpr int most_rows = 65535;
    const int warps = blocks_for(packs, simt::warp_lanes, kBlockThreads / simt::warp_lanes);
    const int threads = warps * simt::warp_lanes;
    return {.name = name,
            .grid = {blocks_for(packs, threads), blocks_for(rows, 1, most_rows)},
            .block = {threads},
            .stream = stream_of(context)};
}

/// Shared memory of all blocks of a multiprocessor.
[[nodiscard]] inline std::int64_t shared_bytes_of_multiprocessor(const device::DeviceInfo& gpu) {
    constexpr std::int64_t kibibyte = 1024;
    if (gpu.capability_major == 9 || gpu.capability_major == 10) return 228 * kibibyte;
    if (gpu.capability_major == 8 && gpu.capability_minor == 0) return 164 * kibibyte;
    return 100 * kibibyte;
}

/// Shared memory that a block keeps a row in, or the row itself where it is too long for that.
template <bool kIsCached, class T, class Row>
SIMT_DEVICE auto cached_or(const Row& row, std::int64_t offset_bytes, std::int64_t elements) {
    if constexpr (kIsCached) {
        return simt::dynamic_shared<T>(offset_bytes, elements);
    } else {
        return row;
    }
}

// ---- Rows of floats beside rows of packs: where packs have eight elements, the first four of all
// packs come first, then the other four of all, so that neighbouring threads access neighbouring
// 16 bytes.

template <int width>
struct Floats {
    float values[static_cast<std::size_t>(width)];
};

template <int width>
inline constexpr int kPartWidth = width < 4 ? width : 4;

/// Where the row has the float of a column.
[[nodiscard]] SIMT_DEVICE std::int64_t float_place(std::int64_t column, std::int64_t columns,
                                                   int width) {
    if (width <= 4) return column;
    return column % width / 4 * (columns / width * 4) + column / width * 4 + column % 4;
}

template <int width, class Row>
SIMT_DEVICE Floats<width> load_floats(const Row& row, int pack, int packs) {
    constexpr int part_width = kPartWidth<width>;
    Floats<width> floats;
    for (int i = 0; i < width; i += part_width) {
        const Pack<float, part_width> part =
            load_pack<part_width>(row + static_cast<std::int64_t>(i) * packs + pack * part_width);
        for (int k = 0; k < part_width; ++k) floats.values[i + k] = part.values[k];
    }
    return floats;
}

template <int width, class Row>
SIMT_DEVICE void store_floats(const Row& row, int pack, int packs, const Floats<width>& floats) {
    constexpr int part_width = kPartWidth<width>;
    for (int i = 0; i < width; i += part_width) {
        Pack<float, part_width> part;
        for (int k = 0; k < part_width; ++k) part.values[k] = floats.values[i + k];
        store_pack(row + static_cast<std::int64_t>(i) * packs + pack * part_width, part);
    }
}

}  // namespace isoflop::ops::cuda
