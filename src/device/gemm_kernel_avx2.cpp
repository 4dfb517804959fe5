// AVX2 with FMA: 6 x 16 tiles, 12 sums, 2 vectors of B and a factor in the 16 registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <utility>

#include "device/gemm_kernel.hpp"

#define ISOFLOP_TARGET [[gnu::target("avx2,fma")]]
#define ISOFLOP_INLINE [[gnu::target("avx2,fma"), gnu::always_inline]] static inline

namespace isoflop::device {
namespace {

struct Vector {
    using Type = __m256;
    using Mask = __m256i;
    static constexpr int kWidth = 8;

    ISOFLOP_INLINE Type zero() { return _mm256_setzero_ps(); }
    ISOFLOP_INLINE Type broadcast(const float* value) { return _mm256_broadcast_ss(value); }
    ISOFLOP_INLINE Type load(const float* from) { return _mm256_loadu_ps(from); }
    ISOFLOP_INLINE void store(float* to, Type value) { _mm256_storeu_ps(to, value); }
    ISOFLOP_INLINE Mask first(int count) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(count),
                                  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    ISOFLOP_INLINE Type load_first(const float* from, Mask mask) {
        return _mm256_maskload_ps(from, mask);
    }
    ISOFLOP_INLINE void store_first(float* to, Mask mask, Type value) {
        _mm256_maskstore_ps(to, mask, value);
    }
    ISOFLOP_INLINE Type multiply(Type x, Type y) { return _mm256_mul_ps(x, y); }
    ISOFLOP_INLINE Type fma(Type x, Type y, Type z) { return _mm256_fmadd_ps(x, y, z); }
    ISOFLOP_INLINE float sum(Type x) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
};
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

#include "device/gemm_tile.inl"

}  // namespace

const MicroKernel kAvx2Kernel = kKernel;

}  // namespace isoflop::device
#endif
