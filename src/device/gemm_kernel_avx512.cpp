// AVX-512: 12 x 32 tiles, 24 sums and 2 vectors of B in the 32 registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <utility>

#include "device/gemm_kernel.hpp"

#define ISOFLOP_TARGET [[gnu::target("avx512f")]]
#define ISOFLOP_INLINE [[gnu::target("avx512f"), gnu::always_inline]] static inline

namespace isoflop::device {
namespace {

struct Vector {
    using Type = __m512;
    using Mask = __mmask16;
    static constexpr int kWidth = 16;

    ISOFLOP_INLINE Type zero() { return _mm512_setzero_ps(); }
    ISOFLOP_INLINE Type broadcast(const float* value) { return _mm512_set1_ps(*value); }
    ISOFLOP_INLINE Type load(const float* from) { return _mm512_loadu_ps(from); }
    ISOFLOP_INLINE void store(float* to, Type value) { _mm512_storeu_ps(to, value); }
    ISOFLOP_INLINE Mask first(int count) {
        return static_cast<Mask>((1U << static_cast<unsigned>(count)) - 1U);
    }
    ISOFLOP_INLINE Type load_first(const float* from, Mask mask) {
        return _mm512_maskz_loadu_ps(mask, from);
    }
    ISOFLOP_INLINE void store_first(float* to, Mask mask, Type value) {
        _mm512_mask_storeu_ps(to, mask, value);
    }
    ISOFLOP_INLINE Type multiply(Type x, Type y) { return _mm512_mul_ps(x, y); }
    ISOFLOP_INLINE Type fma(Type x, Type y, Type z) { return _mm512_fmadd_ps(x, y, z); }
    // Not _mm512_reduce_add_ps: GCC 12 warns about uninitialised values inside it.
    ISOFLOP_INLINE float sum(Type x) {
        alignas(64) float lanes[kWidth];
        _mm512_store_ps(lanes, x);
        for (int width = kWidth / 2; width > 0; width /= 2) {
            for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
        }
        return lanes[0];
    }
};
constexpr int kTileRows = 12;
constexpr int kTileVectors = 2;

#include "device/gemm_tile.inl"

}  // namespace

const MicroKernel kAvx512Kernel = kKernel;

}  // namespace isoflop::device
#endif
