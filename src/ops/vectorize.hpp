// How the CPU kernels become vector code without intrinsics: plain loops, which the compiler turns
// into vector instructions once per instruction set, and one test at run time.
//
// run_vectorized(body) calls a copy of `body` compiled for the widest instruction set of this
// machine: `flatten` inlines the body and all that it calls into a function with that target. Loops
// whose iterations may run in any order use for_each_independent; sums use fixed lanes, because a
// compiler must not reorder floating-point additions, and so that every instruction set and thread
// count adds in the same order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "isoflop/device/context.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::ops {

#if defined(__clang__)
// Loops over double call the standard library and stay scalar: no reason to warn.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

#if defined(__x86_64__)
template <class Body>
[[gnu::target("avx512f,avx2,fma,bmi2"), gnu::flatten, gnu::noinline]] void run_avx512(
    const Body& body) {
    body();
}
template <class Body>
[[gnu::target("avx2,fma"), gnu::flatten, gnu::noinline]] void run_avx2(const Body& body) {
    body();
}
#endif

template <class Body>
[[gnu::flatten, gnu::noinline]] void run_generic(const Body& body) {
    body();
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

template <class Body>
void run_vectorized(const Body& body) {
#if defined(__x86_64__)
    switch (device::active_instruction_set()) {
        case device::InstructionSet::avx512: return run_avx512(body);
        case device::InstructionSet::avx2: return run_avx2(body);
        case device::InstructionSet::generic: break;
    }
#endif
    run_generic(body);
}

/// body(i) for i in [0, count), where no iteration reads what another one writes. Reading and
/// writing the same element in one iteration is fine: that is how ops work in place.
template <class Body>
[[gnu::always_inline]] inline void for_each_independent(std::int64_t count, const Body& body) {
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#elif defined(__GNUC__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// Partial results per sum: two AVX-512 registers of fp32, which hides the latency of an addition.
inline constexpr std::int64_t kLanes = 32;

/// lanes[i] takes in lanes[i + kWidth], then with half the width, down to lanes[0]. The widths are
/// compile-time constants because loops of unknown short length would cost more than a row's sum.
template <std::int64_t kWidth, class T, class Combine>
[[gnu::always_inline]] inline void fold_halves(T* lanes, const Combine& combine) {
    for (std::int64_t lane = 0; lane < kWidth; ++lane) {
        lanes[lane] = combine(lanes[lane], lanes[lane + kWidth]);
    }
    if constexpr (kWidth > 1) fold_halves<kWidth / 2>(lanes, combine);
}

/// Folds term(0), ..., term(count - 1): lane i mod 32 in rising order, then the lanes pairwise.
template <class T, class Term, class Combine>
[[gnu::always_inline]] inline T lane_fold(std::int64_t count, T start, const Term& term,
                                          const Combine& combine) {
    T lanes[kLanes];
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = start;
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        for (std::int64_t lane = 0; lane < kLanes; ++lane) {
            lanes[lane] = combine(lanes[lane], term(i + lane));
        }
    }
    for (std::int64_t lane = 0; i + lane < count; ++lane) {
        lanes[lane] = combine(lanes[lane], term(i + lane));
    }
    fold_halves<kLanes / 2>(lanes, combine);
    return lanes[0];
}

template <class T, class Term>
[[gnu::always_inline]] inline T lane_sum(std::int64_t count, const Term& term) {
    return lane_fold(count, T(0), term, [](T a, T b) { return a + b; });
}
/// NaN terms are skipped; -infinity when all terms are NaN.
template <class T, class Term>
[[gnu::always_inline]] inline T lane_max(std::int64_t count, const Term& term) {
    return lane_fold(count, -std::numeric_limits<T>::infinity(), term,
                     [](T a, T b) { return b > a ? b : a; });
}
template <class T, class Term>
[[gnu::always_inline]] inline T lane_min(std::int64_t count, const Term& term) {
    return lane_fold(count, std::numeric_limits<T>::infinity(), term,
                     [](T a, T b) { return b < a ? b : a; });
}

/// Elements that one thread takes at a time: enough to outweigh handing them out, few enough to
/// stay in its caches.
inline constexpr std::int64_t kChunkElements = 8192;

/// Rows of `width` elements per chunk.
[[nodiscard]] constexpr std::int64_t rows_per_chunk(std::int64_t width) {
    return std::max<std::int64_t>(1, kChunkElements / std::max<std::int64_t>(1, width));
}

/// body(begin, end) over [0, count) in chunks of `grain`, in parallel, as vector code.
template <class Body>
void vectorized_ranges(device::Context& context, std::int64_t count, std::int64_t grain,
                       const Body& body) {
    context.pool.parallel_ranges(count, grain, [&body](std::int64_t begin, std::int64_t end) {
        run_vectorized([&] { body(begin, end); });
    });
}

/// body(row) for every row of a matrix, in parallel, as vector code.
template <class Body>
void vectorized_rows(device::Context& context, std::int64_t rows, std::int64_t width,
                     const Body& body) {
    vectorized_ranges(context, rows, rows_per_chunk(width),
                      [&body](std::int64_t begin, std::int64_t end) {
                          for (std::int64_t row = begin; row < end; ++row) body(row);
                      });
}

/// body(i) for every element of a flat tensor, in parallel, as vector code.
template <class Body>
void vectorized_elements(device::Context& context, std::int64_t count, const Body& body) {
    vectorized_ranges(
        context, count, kChunkElements, [&body](std::int64_t begin, std::int64_t end) {
            for_each_independent(end - begin, [&](std::int64_t i) { body(begin + i); });
        });
}

}  // namespace isoflop::ops
