// Common code of the CUDA ops: element types, pointers, launch sizes, sums over a block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "isoflop/device/context.hpp"
#include "isoflop/device/cuda/simt.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {
using device::Context;
using device::TensorView;
}  // namespace isoflop::ops

namespace isoflop::ops::cuda {

template <class T>
inline constexpr DType kDTypeOf = DType::float32;
template <>
inline constexpr DType kDTypeOf<simt::Bfloat16> = DType::bfloat16;
template <>
inline constexpr DType kDTypeOf<simt::Float16> = DType::float16;
template <>
inline constexpr DType kDTypeOf<double> = DType::float64;

/// nullptr for an empty tensor. Throws std::logic_error when it has another element type.
template <class T>
[[nodiscard]] T* data(const TensorView& tensor) {
    if (!tensor.empty() && tensor.dtype() != kDTypeOf<T>)
        throw std::logic_error("CUDA op: wrong element type");
    return static_cast<T*>(tensor.data());
}

/// Calls visit with a value of the element type that tensors of `dtype` have on a GPU.
template <class Visitor>
decltype(auto) visit_storage(DType dtype, Visitor&& visit) {
    switch (dtype) {
        case DType::float32: return visit(float{});
        case DType::bfloat16: return visit(simt::Bfloat16{});
        case DType::float16: return visit(simt::Float16{});
        default: throw std::logic_error("no CUDA kernel for this element type");
    }
}

[[nodiscard]] inline simt::Stream stream_of(const Context& context) {
    return context.device.stream();
}

inline constexpr int kBlockThreads = 256;

/// Blocks for `items` at `items_per_block`, at most `most` (kernels then stride over the grid).
[[nodiscard]] inline int blocks_for(std::int64_t items, std::int64_t items_per_block,
                                    int most = 2048) {
    const std::int64_t blocks = (items + items_per_block - 1) / items_per_block;
    return static_cast<int>(std::clamp<std::int64_t>(blocks, 1, most));
}

/// True when 16-byte accesses at multiples of the vector width fit: the pointer and, for rows, the
/// row length.
template <class T>
[[nodiscard]] bool is_vectorizable(const T* pointer, std::int64_t row_length = 0) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 &&
           row_length % simt::Vector16<T>::size == 0;
}

template <class T>
SIMT_DEVICE T warp_sum(T value) {
    for (int bits = simt::warp_lanes / 2; bits > 0; bits /= 2)
        value += simt::shuffle_xor(value, bits);
    return value;
}

/// Sum over the threads of a block, returned to all of them; the order does not depend on the data.
/// `partial` is shared memory for one value per warp. Every thread must call it.
template <class T>
SIMT_DEVICE T block_sum(T value, simt::Shared<T> partial) {
    value = warp_sum(value);
    if (simt::lane_index() == 0) simt::store(partial + simt::warp_index(), value);
    simt::sync_threads();
    const simt::Dim3 size = simt::block_size();
    const int warps = (size.x * size.y * size.z + simt::warp_lanes - 1) / simt::warp_lanes;
    T total = T(0);
    for (int warp = 0; warp < warps; ++warp) total += simt::load(partial + warp);
    simt::sync_threads();  // before the next sum writes
    return total;
}

}  // namespace isoflop::ops::cuda
