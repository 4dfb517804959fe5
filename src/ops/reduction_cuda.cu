// Sums over flat tensors: blocks, whose number depends on the size alone, leave one partial result
// each in scratch memory, which a last block (or, where the host waits anyway, the host) adds in
// order. So sums have the same bits in every run.
#include "isoflop/ops/reduction.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "isoflop/ops/cuda/support.hpp"
#include "ops/cuda_grid.hpp"

namespace isoflop::ops::cuda {
namespace {

constexpr int kWarps = kBlockThreads / simt::warp_lanes;
constexpr int kMostBlocks = 1024;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

[[nodiscard]] int reduction_blocks(std::int64_t count) {
    constexpr std::int64_t kElementsPerThread = 16;
    return blocks_for(count, kBlockThreads * kElementsPerThread, kMostBlocks);
}

/// visit(x[i]) for this thread's share of the elements.
template <class T, class Visit>
SIMT_DEVICE void for_each_element(simt::Global<const T> x, std::int64_t count, bool vectorized,
                                  const Visit& visit) {
    constexpr int kWidth = simt::Vector16<T>::size;
    std::int64_t in_vectors = 0;
    if (vectorized) {
        const std::int64_t vectors = count / kWidth;
        for (std::int64_t i = grid_thread(); i < vectors; i += grid_threads()) {
            const simt::Vector16<T> values = simt::load_vector(x + i * kWidth);
            for (int k = 0; k < kWidth; ++k) visit(simt::to_float(values.values[k]));
        }
        in_vectors = vectors * kWidth;
    }
    for (std::int64_t i = in_vectors + grid_thread(); i < count; i += grid_threads()) {
        visit(simt::to_float(simt::load(x + i)));
    }
}

/// As block_sum, with another operation.
template <class T, class Combine>
SIMT_DEVICE T block_fold(T value, simt::Shared<T> partial, const Combine& combine) {
    for (int bits = simt::warp_lanes / 2; bits > 0; bits /= 2)
        value = combine(value, simt::shuffle_xor(value, bits));
    if (simt::lane_index() == 0) simt::store(partial + simt::warp_index(), value);
    simt::sync_threads();
    T result = simt::load(partial);
    for (int warp = 1; warp < kWarps; ++warp) result = combine(result, simt::load(partial + warp));
    simt::sync_threads();
    return result;
}

template <class T, bool kSquared>
SIMT_KERNEL void partial_sums(simt::Global<double> partials, simt::Global<const T> x,
                              std::int64_t count, bool vectorized) {
    SIMT_SHARED_ARRAY(double, warp_sums, kWarps);
    double sum = 0;
    for_each_element<T>(x, count, vectorized, [&](float value) {
        const double term = value;
        sum += kSquared ? term * term : term;
    });
    sum = block_sum<double>(sum, warp_sums);
    if (simt::thread_index().x == 0) simt::store(partials + simt::block_index().x, sum);
}

SIMT_KERNEL void add_partials(simt::Global<double> result, simt::Global<const double> partials,
                              int count) {
    SIMT_SHARED_ARRAY(double, warp_sums, kWarps);
    double sum = 0;
    for (int i = simt::thread_index().x; i < count; i += kBlockThreads) {
        sum += simt::load(partials + i);
    }
    sum = block_sum<double>(sum, warp_sums);
    if (simt::thread_index().x == 0) simt::store(result, sum);
}

/// The partial result of a block for `statistics`.
struct PartialStatistics {
    double non_finite, sum, sum_of_squares, minimum, maximum;
};

template <class T>
SIMT_KERNEL void partial_statistics(simt::Global<double> partials, simt::Global<const T> x,
                                    std::int64_t count, bool vectorized) {
    SIMT_SHARED_ARRAY(double, warp_sums, kWarps);
    SIMT_SHARED_ARRAY(float, warp_limits, kWarps);
    double non_finite = 0;
    double sum = 0;
    double sum_of_squares = 0;
    float minimum = kInfinity;
    float maximum = -kInfinity;
    for_each_element<T>(x, count, vectorized, [&](float value) {
        const bool is_finite = value - value == 0;
        if (!is_finite) {
            non_finite += 1;
            return;
        }
        const double term = value;
        sum += term;
        sum_of_squares += term * term;
        if (value < minimum) minimum = value;
        if (value > maximum) maximum = value;
    });
    non_finite = block_sum<double>(non_finite, warp_sums);
    sum = block_sum<double>(sum, warp_sums);
    sum_of_squares = block_sum<double>(sum_of_squares, warp_sums);
    minimum =
        block_fold<float>(minimum, warp_limits, [](float a, float b) { return b < a ? b : a; });
    maximum =
        block_fold<float>(maximum, warp_limits, [](float a, float b) { return b > a ? b : a; });
    if (simt::thread_index().x != 0) return;
    const auto mine = partials + std::int64_t{5} * simt::block_index().x;
    simt::store(mine, non_finite);
    simt::store(mine + 1, sum);
    simt::store(mine + 2, sum_of_squares);
    simt::store(mine + 3, minimum);
    simt::store(mine + 4, maximum);
}

/// checksum_term.hpp for kernels.
SIMT_DEVICE std::uint64_t term_of_checksum(std::uint32_t word, std::int64_t index) {
    std::uint64_t x = (static_cast<std::uint64_t>(index) << 32U) + word + 0x9E37'79B9'7F4A'7C15U;
    x = (x ^ (x >> 30U)) * 0xBF58'476D'1CE4'E5B9U;
    x = (x ^ (x >> 27U)) * 0x94D0'49BB'1331'11EBU;
    return x ^ (x >> 31U);
}

/// The words of the tensor in vectors of four, or in halves where it has no such alignment; a half
/// that is left over at the end is a word of its own.
SIMT_KERNEL void partial_checksums(simt::Global<std::uint64_t> partials,
                                   simt::Global<const std::uint16_t> halves, std::int64_t count,
                                   bool vectorized) {
    SIMT_SHARED_ARRAY(std::uint64_t, warp_sums, kWarps);
    std::uint64_t sum = 0;
    std::int64_t in_vectors = 0;
    if (vectorized) {
        const auto words = simt::pointer_cast<const std::uint32_t>(halves);
        const std::int64_t vectors = count / 8;
        for (std::int64_t i = grid_thread(); i < vectors; i += grid_threads()) {
            const simt::Vector16<std::uint32_t> four = simt::load_vector(words + 4 * i);
            for (int k = 0; k < 4; ++k) {
                sum += term_of_checksum(four.values[k], 4 * i + k);
            }
        }
        in_vectors = 4 * vectors;
    }
    for (std::int64_t i = in_vectors + grid_thread(); i < (count + 1) / 2; i += grid_threads()) {
        std::uint32_t word = simt::load(halves + 2 * i);
        if (2 * i + 1 < count) {
            word |= static_cast<std::uint32_t>(simt::load(halves + (2 * i + 1))) << 16U;
        }
        sum += term_of_checksum(word, i);
    }
    sum = block_sum<std::uint64_t>(sum, warp_sums);
    if (simt::thread_index().x == 0) simt::store(partials + simt::block_index().x, sum);
}

template <bool kSquared>
device::DeferredValue transformed_sum(Context& context, const TensorView& x) {
    device::Device& device = context.device;
    auto* const partials = reinterpret_cast<double*>(device.scratch());
    const int blocks = reduction_blocks(x.size());
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = data<T>(x);
        simt::launch({.name = "partial_sums",
                      .grid = {blocks},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     partial_sums<T, kSquared>, partials, values, x.size(),
                     is_vectorizable(values));
    });
    double* const result = device.next_result();
    simt::launch({.name = "add_partials",
                  .grid = {1},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 add_partials, result, partials, blocks);
    return {device, result};
}

/// The partial results of `blocks` blocks in scratch memory.
template <class Partial>
std::vector<Partial> fetch_partials(device::Device& device, int blocks) {
    std::vector<Partial> partials(static_cast<std::size_t>(blocks));
    device.copy_out(partials.data(), device.scratch(), partials.size() * sizeof(Partial));
    return partials;
}

}  // namespace

DeferredValue deferred_sum_of_squares(Context& context, const TensorView& x) {
    return transformed_sum<true>(context, x);
}

DeferredValue deferred_sum(Context& context, const TensorView& x) {
    return transformed_sum<false>(context, x);
}

TensorStatistics statistics(Context& context, const TensorView& x) {
    device::Device& device = context.device;
    const int blocks = reduction_blocks(x.size());
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = data<T>(x);
        simt::launch({.name = "partial_statistics",
                      .grid = {blocks},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     partial_statistics<T>, reinterpret_cast<double*>(device.scratch()), values,
                     x.size(), is_vectorizable(values));
    });
    TensorStatistics total{
        .count = x.size(),
        .minimum = std::numeric_limits<double>::infinity(),
        .maximum = -std::numeric_limits<double>::infinity(),
    };
    for (const PartialStatistics& part : fetch_partials<PartialStatistics>(device, blocks)) {
        total.non_finite += static_cast<std::int64_t>(part.non_finite);
        total.sum += part.sum;
        total.sum_of_squares += part.sum_of_squares;
        total.minimum = std::min(total.minimum, part.minimum);
        total.maximum = std::max(total.maximum, part.maximum);
    }
    total.count -= total.non_finite;
    if (total.count == 0) return {.non_finite = total.non_finite};
    return total;
}

std::uint64_t checksum(Context& context, const TensorView& x) {
    device::Device& device = context.device;
    const auto* const halves = static_cast<const std::uint16_t*>(x.data());
    const auto count = static_cast<std::int64_t>(x.bytes() / 2);
    const int blocks = reduction_blocks(count);
    simt::launch({.name = "partial_checksums",
                  .grid = {blocks},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 partial_checksums, reinterpret_cast<std::uint64_t*>(device.scratch()), halves,
                 count, is_vectorizable(halves));
    std::uint64_t sum = 0;
    for (const std::uint64_t part : fetch_partials<std::uint64_t>(device, blocks)) sum += part;
    return sum;
}

}  // namespace isoflop::ops::cuda
