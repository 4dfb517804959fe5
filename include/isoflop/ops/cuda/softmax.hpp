// Rows of one softmax each, by one block: a walk along a row with full accesses wherever it starts
// in memory, and the online maximum and sum of exponentials (Milakov & Gimelshein 2018).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "isoflop/ops/cuda/elements.hpp"

namespace isoflop::ops::cuda {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// A row may start anywhere between two multiples of 16 bytes: the elements before the first one
/// and those after the last one are accessed one by one, packs between them.
template <class T>
struct RowParts {
    std::int64_t head, packs, length;

    /// `misplaced`: elements from a multiple of 16 bytes to the row.
    SIMT_DEVICE RowParts(std::int64_t misplaced, std::int64_t row_length) : length(row_length) {
        constexpr std::int64_t width = kPackWidth<T>;
        head = (width - misplaced % width) % width;
        if (head > length) head = length;
        packs = (length - head) / width;
    }
};

/// Elements from a multiple of 16 bytes to the pointer.
template <class T>
[[nodiscard]] std::int64_t misplacement(const T* pointer) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(pointer) % 16 / sizeof(T));
}

/// Calls visit(first, integral constant width) for the parts of a row that this thread of the block
/// takes: packs of full width and single elements.
template <class T, class Visit>
SIMT_DEVICE void for_each_part(const RowParts<T>& parts, const Visit& visit) {
    constexpr int width = kPackWidth<T>;
    const int threads = simt::block_size().x;
    const int thread = simt::thread_index().x;
    if (thread < parts.head) visit(std::int64_t{thread}, std::integral_constant<int, 1>{});
    for (std::int64_t i = thread; i < parts.packs; i += threads) {
        visit(parts.head + i * width, std::integral_constant<int, width>{});
    }
    for (std::int64_t i = parts.head + parts.packs * width + thread; i < parts.length;
         i += threads) {
        visit(i, std::integral_constant<int, 1>{});
    }
}

/// exp(z - shift) adds up to sum; shift is the largest z so far.
struct SoftmaxSum {
    float shift = kMinusInfinity;
    float sum = 0;
};

/// Subtracting -infinity from itself would turn a row that is all masked into NaN.
SIMT_DEVICE float usable_shift(float shift) {
    return shift == kMinusInfinity ? 0.0F : shift;
}

template <int width>
SIMT_DEVICE void add_to_softmax(SoftmaxSum& softmax, const float (&z)[width]) {
    float largest = softmax.shift;
    for (int i = 0; i < width; ++i) largest = z[i] > largest ? z[i] : largest;
    if (largest > softmax.shift) {
        softmax.sum *= std::exp(softmax.shift - largest);
        softmax.shift = largest;
    }
    const float shift = usable_shift(largest);
    for (int i = 0; i < width; ++i) softmax.sum += std::exp(z[i] - shift);
}

SIMT_DEVICE SoftmaxSum combine(const SoftmaxSum& a, const SoftmaxSum& b) {
    const float largest = a.shift > b.shift ? a.shift : b.shift;
    const float shift = usable_shift(largest);
    return {largest, a.sum * std::exp(a.shift - shift) + b.sum * std::exp(b.shift - shift)};
}

/// Of all threads of the block, known to all; `partial` is shared memory for two values per warp.
/// The shift is finite but for infinite or NaN rows.
SIMT_DEVICE SoftmaxSum block_softmax(SoftmaxSum softmax, simt::Shared<float> partial) {
    for (int bits = simt::warp_lanes / 2; bits > 0; bits /= 2) {
        const SoftmaxSum other{simt::shuffle_xor(softmax.shift, bits),
                               simt::shuffle_xor(softmax.sum, bits)};
        softmax = combine(softmax, other);
    }
    if (simt::lane_index() == 0) {
        simt::store(partial + 2 * simt::warp_index(), softmax.shift);
        simt::store(partial + (2 * simt::warp_index() + 1), softmax.sum);
    }
    simt::sync_threads();
    const int warps = simt::block_size().x / simt::warp_lanes;
    SoftmaxSum total{simt::load(partial), simt::load(partial + 1)};
    for (int warp = 1; warp < warps; ++warp) {
        total =
            combine(total, {simt::load(partial + 2 * warp), simt::load(partial + (2 * warp + 1))});
    }
    simt::sync_threads();  // before the next row writes
    total.shift = usable_shift(total.shift);
    return total;
}

/// Threads of a block per row: few where rows are short.
[[nodiscard]] inline int threads_for_row(std::int64_t length) {
    if (length <= 1024) return 64;
    return length <= 8192 ? 256 : 512;
}
inline constexpr int kMostRowWarps = 512 / simt::warp_lanes;

}  // namespace isoflop::ops::cuda
