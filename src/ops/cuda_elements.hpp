// How kernels reach elements: packs of neighbouring ones that a thread accesses at once, flat
// tensors by functions of elements, and rows of floats in shared memory.
#pragma once

#include <cstdint>

#include "ops/cuda_support.hpp"

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

}  // namespace isoflop::ops::cuda
