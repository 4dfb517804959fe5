// Vectors of one instruction set: loads, selection, base-2 exponential, transposition in registers.
// Included by the kernel sources only, which define ISOFLOP_TILE_* first; names live in that
// source's namespace, so that no function compiled for a wider CPU can be linked in place of
// another's.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#define ISOFLOP_TILE_INLINE [[gnu::always_inline, ISOFLOP_TILE_TARGET]] inline
#define ISOFLOP_TILE_FUNCTION [[ISOFLOP_TILE_TARGET]]
#if defined(__clang__)
#define ISOFLOP_TILE_UNROLL _Pragma("unroll")
#else
#define ISOFLOP_TILE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE {

template <class T>
struct VectorOf;

template <>
struct VectorOf<float> {
    using Bits = std::uint32_t;  // unsigned: shifts and sums may wrap
    typedef float Vector __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES)));
    typedef float Unaligned
        __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES), aligned(4), may_alias));
    typedef std::uint32_t BitVector __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES)));
    // Minimax polynomial of 2^x - 1 over x on [-1/2, 1/2], highest power first (Cephes,
    // exp2f): 1.2e-7 relative.
    static constexpr float kExp2[] = {1.535336188319500e-4f, 1.339887440266574e-3f,
                                      9.618437357674640e-3f, 5.550332471162809e-2f,
                                      2.402264791363012e-1f, 6.931472028550421e-1f};
    static constexpr int kMantissaBits = 23;
    static constexpr Bits kOneBits = 0x3f800000;
    static constexpr float kRound =
        12582912.0F;  // 1.5 x 2^23: adding it leaves the rounded integer in the low bits
    static constexpr float kLowest = -126.0F;  // smaller powers are taken as 0
};

template <>
struct VectorOf<double> {
    using Bits = std::uint64_t;
    typedef double Vector __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES)));
    typedef double Unaligned
        __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES), aligned(8), may_alias));
    typedef std::uint64_t BitVector __attribute__((vector_size(ISOFLOP_TILE_VECTOR_BYTES)));
    // Taylor series: ln(2)^k / k! for k = 13 .. 1; the remainder on [-1/2, 1/2] is 4e-18.
    static constexpr double kExp2[] = {
        1.3691488853904128e-12, 2.5678435993488206e-11, 4.4455382718708115e-10,
        7.0549116208011233e-09, 1.0178086009239699e-07, 1.3215486790144309e-06,
        1.5252733804059841e-05, 1.5403530393381610e-04, 1.3333558146428443e-03,
        9.6181291076284772e-03, 5.5504108664821580e-02, 2.4022650695910071e-01,
        6.9314718055994531e-01};
    static constexpr int kMantissaBits = 52;
    static constexpr Bits kOneBits = 0x3ff0000000000000;
    static constexpr double kRound = 6755399441055744.0;
    static constexpr double kLowest = -1022.0;
};

template <class T>
inline constexpr int kLanes = ISOFLOP_TILE_VECTOR_BYTES / static_cast<int>(sizeof(T));
template <class T>
inline constexpr T kInfinity = std::numeric_limits<T>::infinity();

template <class T>
using Vector = typename VectorOf<T>::Vector;

template <class T>
ISOFLOP_TILE_INLINE Vector<T> load(const T* from) {
    return *reinterpret_cast<const typename VectorOf<T>::Unaligned*>(from);
}

template <class T>
ISOFLOP_TILE_INLINE void store(T* to, Vector<T> value) {
    *reinterpret_cast<typename VectorOf<T>::Unaligned*>(to) = value;
}

template <class T>
ISOFLOP_TILE_INLINE Vector<T> broadcast(T value) {
    return value - Vector<T>{};
}

/// The first n elements; `fill` in the rest.
template <class T>
ISOFLOP_TILE_INLINE Vector<T> load_part(const T* from, std::int64_t n, T fill) {
    Vector<T> value = broadcast<T>(fill);
    if (n > 0) std::memcpy(&value, from, static_cast<std::size_t>(n) * sizeof(T));
    return value;
}

template <class T>
ISOFLOP_TILE_INLINE void store_part(T* to, std::int64_t n, Vector<T> value) {
    if (n > 0) std::memcpy(to, &value, static_cast<std::size_t>(n) * sizeof(T));
}

/// The larger of both; `a` where b is not a number, so that one bad score does not poison a
/// maximum.
template <class T>
ISOFLOP_TILE_INLINE Vector<T> maximum(Vector<T> a, Vector<T> b) {
    return b > a ? b : a;
}

template <class T, std::size_t... kTerm>
ISOFLOP_TILE_INLINE Vector<T> exp2_polynomial(Vector<T> x, std::index_sequence<kTerm...>) {
    Vector<T> sum = broadcast<T>(VectorOf<T>::kExp2[0]);
    ((sum = sum * x + VectorOf<T>::kExp2[kTerm + 1]), ...);
    return sum * x + T(1);
}

/// 2^x for x <= 127. Not-a-numbers stay so; below kLowest the result is 0.
template <class T>
ISOFLOP_TILE_INLINE Vector<T> exp2(Vector<T> x) {
    using Traits = VectorOf<T>;
    using BitVector = typename Traits::BitVector;
    const Vector<T> shifted = x + Traits::kRound;
    const Vector<T> fraction = x - (shifted - Traits::kRound);
    const Vector<T> sum =
        exp2_polynomial<T>(fraction, std::make_index_sequence<std::size(Traits::kExp2) - 1>{});
    // A multiplication, not an addition to the exponent bits, keeps not-a-numbers what they are.
    const BitVector power =
        (reinterpret_cast<BitVector>(shifted) << Traits::kMantissaBits) + Traits::kOneBits;
    const Vector<T> result = sum * reinterpret_cast<Vector<T>>(power);
    return x < Traits::kLowest ? Vector<T>{} : result;
}

/// Sum of the lanes, first to last.
template <class T>
ISOFLOP_TILE_INLINE T sum_of_lanes(Vector<T> value) {
    T sum = 0;
    for (int lane = 0; lane < kLanes<T>; ++lane) sum += value[lane];
    return sum;
}

/// Swaps the off-diagonal kStep x kStep corners of each 2 kStep x 2 kStep block of a square of
/// vectors.
template <class T, int kStep, int... kLane>
ISOFLOP_TILE_INLINE void swap_corners(Vector<T>* rows, std::integer_sequence<int, kLane...>) {
    constexpr int kCount = kLanes<T>;
    ISOFLOP_TILE_UNROLL
    for (int i = 0; i < kCount; ++i) {
        if ((i & kStep) != 0) continue;
        const Vector<T> upper = rows[i];
        const Vector<T> lower = rows[i + kStep];
        rows[i] = __builtin_shufflevector(
            upper, lower, ((kLane & kStep) != 0 ? kCount + kLane - kStep : kLane)...);
        rows[i + kStep] = __builtin_shufflevector(
            upper, lower, ((kLane & kStep) != 0 ? kCount + kLane : kLane + kStep)...);
    }
}

/// Transposes a square of kLanes vectors in registers.
template <class T, int kStep = kLanes<T> / 2>
ISOFLOP_TILE_INLINE void transpose_square(Vector<T>* rows) {
    swap_corners<T, kStep>(rows, std::make_integer_sequence<int, kLanes<T>>{});
    if constexpr (kStep > 1) transpose_square<T, kStep / 2>(rows);
}

}  // namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE
