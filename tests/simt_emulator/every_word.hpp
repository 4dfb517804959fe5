// A kernel with every word of the vocabulary: the emulator runs it, nvcc compiles it, from this one
// source.
#pragma once

#include "isoflop/device/cuda/simt.hpp"

namespace isoflop::simt_test {

using simt::Global;
using simt::Shared;

/// The sum over the block; all threads get it.
SIMT_DEVICE float block_sum(float value) {
    SIMT_SHARED_ARRAY(float, partial, 32);
    SIMT_UNROLL_BY(2)
    for (int distance = 16; distance > 0; distance /= 2) {
        value += simt::shuffle_xor(value, distance);
    }
    if (simt::lane_index() == 0) simt::store(partial + simt::warp_index(), value);
    simt::sync_threads();
    float sum = 0.0F;
    for (int warp = 0; warp < simt::block_size().x / simt::warp_lanes; ++warp) {
        sum += simt::load(partial + warp);
    }
    simt::sync_threads();
    return sum;
}

/// Each warp multiplies a 16x16 by a 16x8 matrix that come by cp.async, B stored by columns.
template <class T>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(64) void tile_products(Global<float> out, Global<const T> a,
                                                      Global<const T> b) {
    constexpr int a_elements = 16 * 16;
    constexpr int b_elements = 8 * 16;
    const int lane = simt::lane_index();
    const int warp = simt::warp_index();
    const Shared<T> a_tile = simt::dynamic_shared<T>(2 * a_elements * warp, a_elements);
    const Shared<T> b_tile = simt::dynamic_shared<T>(
        2 * (a_elements * (simt::block_size().x / simt::warp_lanes) + b_elements * warp),
        b_elements);
    simt::prefetch(b);
    simt::cp_async_16(a_tile + 8 * lane, a + (a_elements * warp + 8 * lane));
    simt::cp_async_commit();
    const int b_bytes = lane < 16 ? 16 : 0;
    if (lane < 16) simt::cp_async_16(b_tile + 8 * lane, b + 8 * lane, b_bytes);
    simt::cp_async_commit();
    simt::cp_async_wait<1>();
    simt::cp_async_wait_all();
    simt::sync_warp();
    std::uint32_t a_fragment[4];
    std::uint32_t b_fragment[2];
    simt::ldmatrix(a_fragment, a_tile + (16 * (lane % 16) + 8 * (lane / 16)));
    simt::ldmatrix(b_fragment, b_tile + (16 * (lane % 8) + 8 * (lane / 8 % 2)));
    float d[4] = {};
    simt::mma_m16n8k16<T>(d, a_fragment, b_fragment);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + 8 * (i / 2);
        simt::store(out + (128 * warp + 8 * row + 2 * (lane % 4) + i % 2), d[i]);
    }
}

template <class T>
SIMT_KERNEL void every_other_word(Global<float> out, Global<int> counters, Global<const float> in) {
    SIMT_SHARED_ARRAY(T, tile, 8 * 64);
    const int thread = simt::thread_index().x;
    const int i = simt::block_index().x * simt::block_size().x + thread;
    simt::store_vector(tile + 8 * thread, simt::Vector16<T>{});
    const simt::Vector16<float> four = simt::load_vector(in + 4 * i);
    const float x = four.values[0];
    const std::uint32_t pair = simt::pack_pair<T>(x, four.values[1]);
    simt::store(simt::pointer_cast<std::uint32_t>(tile + 8 * thread), pair);
    if (simt::warp_index() == 0) {
        simt::sync_barrier(1, 64);
    } else {
        simt::arrive_barrier(1, 64);
    }
    simt::sync_warp();  // arriving does not wait
    std::uint32_t one[1];
    std::uint32_t two[2];
    std::uint32_t four_matrices[4];
    simt::ldmatrix_transposed(one, tile + 8 * (32 * simt::warp_index() + simt::lane_index() % 8));
    simt::ldmatrix_transposed(two, tile + 8 * (32 * simt::warp_index() + simt::lane_index() % 16));
    simt::sync_warp();
    simt::ldmatrix_transposed(four_matrices, tile + 8 * thread);
    float d[4] = {};
    const std::uint32_t a[4] = {simt::round_to_tf32(x), one[0] & 0U, two[0] & 0U,
                                four_matrices[3] & 0U};
    const std::uint32_t b[2] = {simt::round_to_tf32(1.0F), 0U};
    simt::mma_m16n8k8_tf32(d, a, b);
    const float last = simt::shuffle(simt::shuffle_up(x, 1), 31) + simt::shuffle_down(x, 1, 16);
    const bool votes = simt::vote_any(x > 0) && simt::vote_all(x > 0);
    simt::atomic_add(out, 0.0F);
    simt::atomic_add(counters, static_cast<int>(simt::ballot(votes) & 1U));
    simt::atomic_max(counters + 1, i + simt::grid_size().x * 0);
    simt::atomic_cas(counters + 2, 0, 1);
    const float power = simt::exp2_approximate(x) * simt::rsqrt_approximate(x * x);
    const float rounded = simt::to_float(simt::round_to<T>(x)) +
                          simt::from_bits(simt::to_bits(simt::sin_pi(x) * simt::cos_pi(x)));
    simt::store(out + (1 + i), block_sum(power + d[0] + last) + rounded);
}

}  // namespace isoflop::simt_test
