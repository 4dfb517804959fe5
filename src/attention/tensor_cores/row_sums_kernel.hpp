// What surrounds the two passes of backward: rowsum(dO * O), the part of the softmax gradient that
// all keys of a query share, and the buffer of d_q for the atomic pass, cleared and rounded.
#pragma once

#include "attention/tensor_cores/heads.hpp"

namespace isoflop::attention::tensor_cores {

template <class T, int head_dim>
struct RowSums {
    static constexpr int threads = 256;
    static constexpr int shared_bytes = 0;
    static constexpr int chunks = head_dim / kChunk;
    /// Lanes that share a row; the chunks of head_dim 96 do not fill a power of two.
    static constexpr int row_lanes = chunks % 3 == 0 ? chunks / 3 : chunks;
    static constexpr int block_rows = threads / row_lanes;
};

template <class T>
struct RowSumsParameters {
    Problem problem;
    std::int64_t rows = 0;
    TypedHeads<const T> o, d_o;
    Global<float> row_sums;
    Global<float> d_q_sums = nullptr;  ///< of the atomic pass: is cleared
};

template <class T>
struct RoundParameters {
    Problem problem;
    std::int64_t rows = 0;
    Global<const float> d_q_sums;
    TypedHeads<T> d_q;
};

template <class T>
SIMT_DEVICE float chunk_product(const Global<const T>& a, const Global<const T>& b) {
    const simt::Vector16<T> left = simt::load_vector(a);
    const simt::Vector16<T> right = simt::load_vector(b);
    float sum = 0.0F;
    SIMT_UNROLL
    for (int i = 0; i < kChunk; ++i) {
        sum = fmaf(simt::to_float(left.values[i]), simt::to_float(right.values[i]), sum);
    }
    return sum;
}

template <class T, int head_dim>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(256) void row_sums_kernel(RowSumsParameters<T> p) {
    using C = RowSums<T, head_dim>;
    const int lane = simt::thread_index().x % C::row_lanes;
    const std::int64_t row = static_cast<std::int64_t>(simt::block_index().x) * C::block_rows +
                             simt::thread_index().x / C::row_lanes;
    const bool exists = row < p.rows;
    float sum = 0.0F;
    if (exists) {
        const std::int64_t query = row % p.problem.query_length;
        const std::int64_t head = row / p.problem.query_length % p.problem.heads;
        const std::int64_t batch = row / p.problem.query_length / p.problem.heads;
        const HeadRows<const T> o = head_rows(p.o, batch, head);
        const HeadRows<const T> d_o = head_rows(p.d_o, batch, head);
        SIMT_UNROLL
        for (int chunk = 0; chunk < C::chunks; chunk += C::row_lanes) {
            const int column = (chunk + lane) * kChunk;
            sum += chunk_product<T>(o.data + (query * o.stride + column),
                                    d_o.data + (query * d_o.stride + column));
            if (!p.d_q_sums) continue;
            // Neighbours side by side: whole sectors at once.
            const Global<float> sums = p.d_q_sums + (row * head_dim + chunk * kChunk + 4 * lane);
            simt::store_vector(sums, simt::Vector16<float>{});
            simt::store_vector(sums + 4 * C::row_lanes, simt::Vector16<float>{});
        }
    }
    SIMT_UNROLL
    for (int distance = C::row_lanes / 2; distance > 0; distance /= 2) {
        sum += simt::shuffle_xor(sum, distance);
    }
    if (exists && lane == 0) simt::store(p.row_sums + row, sum);
}

/// Threads of round_kernel for a row: 16 bytes of its sums each.
template <int head_dim>
inline constexpr int kRoundThreads = head_dim / 4;

/// d_q = scale * sums.
template <class T, int head_dim>
SIMT_KERNEL SIMT_LAUNCH_BOUNDS(256) void round_kernel(RoundParameters<T> p) {
    const std::int64_t number =
        static_cast<std::int64_t>(simt::block_index().x) * 256 + simt::thread_index().x;
    const std::int64_t row = number / kRoundThreads<head_dim>;
    const std::int64_t column = number % kRoundThreads<head_dim> * 4;
    if (row >= p.rows) return;
    const std::int64_t query = row % p.problem.query_length;
    const std::int64_t head = row / p.problem.query_length % p.problem.heads;
    const HeadRows<T> d_q = head_rows(p.d_q, row / p.problem.query_length / p.problem.heads, head);
    const simt::Vector16<float> sums = simt::load_vector(p.d_q_sums + (row * head_dim + column));
    const auto pair = [&](int i) {
        return simt::pack_pair<T>(sums.values[i] * p.problem.scale,
                                  sums.values[i + 1] * p.problem.scale);
    };
    simt::store(simt::pointer_cast<std::uint64_t>(d_q.data + (query * d_q.stride + column)),
                static_cast<std::uint64_t>(pair(2)) << 32 | pair(0));
}

}  // namespace isoflop::attention::tensor_cores
