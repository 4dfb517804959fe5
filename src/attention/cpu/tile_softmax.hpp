// Softmax along lanes (fused backends) and along rows (manual). See tile_vector.hpp for how it is
// included.
#pragma once

#include "attention/cpu/tile_kernels.hpp"
#include "attention/cpu/tile_vector.hpp"

namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE {

template <class T>
ISOFLOP_TILE_FUNCTION void scale_lanes(std::int64_t rows, std::int64_t lanes, const T* factors,
                                       T* tile) {
    for (std::int64_t row = 0; row < rows; ++row) {
        T* values = tile + row * kQueryTile;
        for (std::int64_t lane = 0; lane < lanes; lane += kLanes<T>) {
            store(values + lane, load(values + lane) * load(factors + lane));
        }
    }
}

template <class T>
ISOFLOP_TILE_FUNCTION void mask_keys(std::int64_t first, std::int64_t last, std::int64_t lanes,
                                     const T* limits, T* tile) {
    for (std::int64_t key = first; key < last; ++key) {
        T* values = tile + key * kQueryTile;
        const Vector<T> position = broadcast<T>(static_cast<T>(key));
        for (std::int64_t lane = 0; lane < lanes; lane += kLanes<T>) {
            const Vector<T> score = load(values + lane);
            store(values + lane,
                  position < load(limits + lane) ? score : broadcast<T>(-kInfinity<T>));
        }
    }
}

template <class T>
ISOFLOP_TILE_FUNCTION void fill_before(std::int64_t last, std::int64_t lanes, const T* starts,
                                       T value, T* tile) {
    for (std::int64_t key = 0; key < last; ++key) {
        T* values = tile + key * kQueryTile;
        const Vector<T> position = broadcast<T>(static_cast<T>(key));
        for (std::int64_t lane = 0; lane < lanes; lane += kLanes<T>) {
            const Vector<T> kept = load(values + lane);
            store(values + lane, position < load(starts + lane) ? broadcast<T>(value) : kept);
        }
    }
}

/// kVectors vectors of lanes together: their chains of dependent operations overlap.
template <class T, int kVectors>
ISOFLOP_TILE_FUNCTION bool online_softmax_lanes(std::int64_t keys, T* tile, T* maxima, T* sums,
                                                T* rescale) {
    Vector<T> largest[kVectors];
    ISOFLOP_TILE_UNROLL
    for (int v = 0; v < kVectors; ++v) largest[v] = load(maxima + v * kLanes<T>);
    for (std::int64_t key = 0; key < keys; ++key) {
        ISOFLOP_TILE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            largest[v] = maximum<T>(largest[v], load(tile + key * kQueryTile + v * kLanes<T>));
        }
    }
    Vector<T> reference[kVectors];  // the maximum, but 0 for a query that has seen no key: -inf -
                                    // -inf is no number
    Vector<T> sum[kVectors];
    bool rescales = false;
    ISOFLOP_TILE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
        const int lane = v * kLanes<T>;
        reference[v] = largest[v] == -kInfinity<T> ? Vector<T>{} : largest[v];
        const Vector<T> factor = exp2<T>(load(maxima + lane) - reference[v]);
        store(rescale + lane, factor);
        store(maxima + lane, largest[v]);
        sum[v] = load(sums + lane) * factor;
        for (int i = 0; i < kLanes<T>; ++i) rescales |= rescale[lane + i] != T(1);
    }
    for (std::int64_t key = 0; key < keys; ++key) {
        ISOFLOP_TILE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            T* score = tile + key * kQueryTile + v * kLanes<T>;
            const Vector<T> power = exp2<T>(load(score) - reference[v]);
            store(score, power);
            sum[v] += power;
        }
    }
    ISOFLOP_TILE_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + v * kLanes<T>, sum[v]);
    return rescales;
}

template <class T>
ISOFLOP_TILE_FUNCTION bool online_softmax(std::int64_t keys, std::int64_t lanes, T* tile, T* maxima,
                                          T* sums, T* rescale) {
    bool rescales = false;
    std::int64_t lane = 0;
    for (; lane + 4 * kLanes<T> <= lanes; lane += 4 * kLanes<T>) {
        rescales |= online_softmax_lanes<T, 4>(keys, tile + lane, maxima + lane, sums + lane,
                                               rescale + lane);
    }
    for (; lane < lanes; lane += kLanes<T>) {
        rescales |= online_softmax_lanes<T, 1>(keys, tile + lane, maxima + lane, sums + lane,
                                               rescale + lane);
    }
    return rescales;
}

template <class T, bool kMasked>
ISOFLOP_TILE_FUNCTION void backward_tile(std::int64_t keys, std::int64_t lanes, const T* limits,
                                         const T* lse2, const T* row_sums, T* scores,
                                         T* d_probabilities) {
    for (std::int64_t key = 0; key < keys; ++key) {
        const Vector<T> position = broadcast<T>(static_cast<T>(key));
        for (std::int64_t lane = 0; lane < lanes; lane += kLanes<T>) {
            T* score = scores + key * kQueryTile + lane;
            T* d_probability = d_probabilities + key * kQueryTile + lane;
            Vector<T> p = exp2<T>(load(score) - load(lse2 + lane));
            Vector<T> d_score = p * (load(d_probability) - load(row_sums + lane));
            if constexpr (kMasked) {
                p = position < load(limits + lane) ? p : Vector<T>{};
                d_score = position < load(limits + lane) ? d_score : Vector<T>{};
            }
            store(score, p);
            store(d_probability, d_score);
        }
    }
}

template <class T>
ISOFLOP_TILE_FUNCTION void backward_probabilities(std::int64_t keys, std::int64_t lanes,
                                                  const T* limits, const T* lse2, const T* row_sums,
                                                  T* scores, T* d_probabilities) {
    if (limits == nullptr) {
        backward_tile<T, false>(keys, lanes, limits, lse2, row_sums, scores, d_probabilities);
    } else {
        backward_tile<T, true>(keys, lanes, limits, lse2, row_sums, scores, d_probabilities);
    }
}

template <class T>
ISOFLOP_TILE_FUNCTION T softmax_row(std::int64_t n, T* row) {
    constexpr std::int64_t kCount = kLanes<T>;
    const std::int64_t whole = n - n % kCount;
    const std::int64_t rest = n - whole;
    Vector<T> largest_lanes = load_part<T>(row + whole, rest, -kInfinity<T>);
    for (std::int64_t j = 0; j < whole; j += kCount)
        largest_lanes = maximum<T>(largest_lanes, load(row + j));
    T largest = largest_lanes[0];
    for (int lane = 1; lane < kCount; ++lane)
        largest = largest_lanes[lane] > largest ? largest_lanes[lane] : largest;

    Vector<T> sums{};
    for (std::int64_t j = 0; j < whole; j += kCount) {
        const Vector<T> power = exp2<T>(load(row + j) - largest);
        store(row + j, power);
        sums += power;
    }
    const Vector<T> last = exp2<T>(load_part<T>(row + whole, rest, -kInfinity<T>) - largest);
    T sum = sum_of_lanes<T>(sums);
    for (int lane = 0; lane < rest; ++lane) sum += last[lane];

    const T inverse = T(1) / sum;
    for (std::int64_t j = 0; j < whole; j += kCount) store(row + j, load(row + j) * inverse);
    store_part<T>(row + whole, rest, last * inverse);
    return largest + static_cast<T>(__builtin_log2(static_cast<double>(sum)));
}

template <class T>
ISOFLOP_TILE_FUNCTION T dot(std::int64_t n, const T* a, const T* b) {
    constexpr std::int64_t kCount = kLanes<T>;
    const std::int64_t whole = n - n % kCount;
    Vector<T> sums =
        load_part<T>(a + whole, n - whole, T(0)) * load_part<T>(b + whole, n - whole, T(0));
    for (std::int64_t j = 0; j < whole; j += kCount) sums += load(a + j) * load(b + j);
    return sum_of_lanes<T>(sums);
}

template <class T>
ISOFLOP_TILE_FUNCTION void softmax_row_backward(std::int64_t n, T factor, const T* p, T* d_row) {
    constexpr std::int64_t kCount = kLanes<T>;
    const std::int64_t whole = n - n % kCount;
    const T row_sum = dot(n, p, d_row);
    for (std::int64_t j = 0; j < whole; j += kCount) {
        store(d_row + j, factor * load(p + j) * (load(d_row + j) - row_sum));
    }
    for (std::int64_t j = whole; j < n; ++j) d_row[j] = factor * p[j] * (d_row[j] - row_sum);
}

template <class T>
ISOFLOP_TILE_FUNCTION bool all_finite(std::int64_t rows, std::int64_t columns, const T* data,
                                      std::int64_t stride) {
    constexpr std::int64_t kCount = kLanes<T>;
    const std::int64_t whole = columns - columns % kCount;
    Vector<T> differences{};  // x - x is 0 for finite x, else not a number, which no sum can undo
    for (std::int64_t row = 0; row < rows; ++row) {
        const T* values = data + row * stride;
        for (std::int64_t j = 0; j < whole; j += kCount) {
            const Vector<T> value = load(values + j);
            differences += value - value;
        }
        const Vector<T> last = load_part<T>(values + whole, columns - whole, T(0));
        differences += last - last;
    }
    return sum_of_lanes<T>(differences) == T(0);
}

}  // namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE
