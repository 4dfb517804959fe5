// Any CPU with 128-bit vectors, or without: the compiler makes the best of vectors of four.
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "device/gemm_kernel.hpp"

#define ISOFLOP_TARGET
#define ISOFLOP_INLINE [[gnu::always_inline]] static inline

namespace isoflop::device {
namespace {

struct Vector {
    using Type [[gnu::vector_size(16)]] = float;
    using Mask = int;
    static constexpr int kWidth = 4;

    ISOFLOP_INLINE Type zero() { return Type{0, 0, 0, 0}; }
    ISOFLOP_INLINE Type broadcast(const float* value) {
        return Type{*value, *value, *value, *value};
    }
    ISOFLOP_INLINE Type load(const float* from) {
        Type value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    ISOFLOP_INLINE void store(float* to, Type value) { std::memcpy(to, &value, sizeof value); }
    ISOFLOP_INLINE Mask first(int count) { return count; }
    ISOFLOP_INLINE Type load_first(const float* from, Mask count) {
        if (count == kWidth) return load(from);
        Type value = zero();
        for (int i = 0; i < count; ++i) value[i] = from[i];
        return value;
    }
    ISOFLOP_INLINE void store_first(float* to, Mask count, Type value) {
        if (count == kWidth) {
            std::memcpy(to, &value, sizeof value);
        } else {
            for (int i = 0; i < count; ++i) to[i] = value[i];
        }
    }
    ISOFLOP_INLINE Type multiply(Type x, Type y) { return x * y; }
    ISOFLOP_INLINE Type fma(Type x, Type y, Type z) { return x * y + z; }
    ISOFLOP_INLINE float sum(Type x) { return (x[0] + x[2]) + (x[1] + x[3]); }
};
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

#include "device/gemm_tile.inl"

}  // namespace

const MicroKernel kGenericKernel = kKernel;

const MicroKernel& active_kernel() {
#if defined(__x86_64__)
    switch (active_instruction_set()) {
        case InstructionSet::avx512: return kAvx512Kernel;
        case InstructionSet::avx2: return kAvx2Kernel;
        case InstructionSet::generic: return kGenericKernel;
    }
#endif
    return kGenericKernel;
}

}  // namespace isoflop::device
