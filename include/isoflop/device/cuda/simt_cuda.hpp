// The kernel vocabulary under nvcc: CUDA's own functions, and one small function for each PTX
// instruction. Included by simt.hpp only, which documents it; tests/simt_emulator/simt_host.hpp is
// its twin. Needs compute capability 8.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "isoflop/base/error.hpp"

#define SIMT_KERNEL __global__
#define SIMT_DEVICE __device__ __forceinline__
#define SIMT_LAUNCH_BOUNDS(threads) __launch_bounds__(threads)
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_PRAGMA(text) _Pragma(#text)
#define SIMT_UNROLL_BY(count) SIMT_PRAGMA(unroll(count))
#define SIMT_SHARED_ARRAY(type, name, count)               \
    __shared__ __align__(16) type name##_storage[(count)]; \
    const ::isoflop::simt::Shared<type> name = name##_storage

namespace isoflop::simt {

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

/// Only the emulator needs to know where a function was called.
struct Location {
    SIMT_DEVICE static constexpr Location current() { return {}; }
};

// ---- Positions

SIMT_DEVICE Dim3 to_dim3(unsigned x, unsigned y, unsigned z) {
    return {static_cast<int>(x), static_cast<int>(y), static_cast<int>(z)};
}
SIMT_DEVICE Dim3 thread_index() {
    return to_dim3(threadIdx.x, threadIdx.y, threadIdx.z);
}
SIMT_DEVICE Dim3 block_index() {
    return to_dim3(blockIdx.x, blockIdx.y, blockIdx.z);
}
SIMT_DEVICE Dim3 block_size() {
    return to_dim3(blockDim.x, blockDim.y, blockDim.z);
}
SIMT_DEVICE Dim3 grid_size() {
    return to_dim3(gridDim.x, gridDim.y, gridDim.z);
}
/// In the block, x fastest.
SIMT_DEVICE int thread_number() {
    return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
SIMT_DEVICE int lane_index() {
    return thread_number() % warp_lanes;
}
SIMT_DEVICE int warp_index() {
    return thread_number() / warp_lanes;
}

// ---- Shared memory

template <class T>
SIMT_DEVICE Shared<T> dynamic_shared(std::int64_t offset_bytes, std::int64_t) {
    extern __shared__ __align__(128) unsigned char isoflop_dynamic_shared[];
    return reinterpret_cast<T*>(isoflop_dynamic_shared + offset_bytes);
}

template <class U, class T>
SIMT_DEVICE U* pointer_cast(T* pointer) {
    return reinterpret_cast<U*>(pointer);
}

/// PTX instructions on shared memory need addresses of 32 bits.
SIMT_DEVICE std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- Loads and stores

template <class T>
SIMT_DEVICE std::remove_const_t<T> load(T* from) {
    return *from;
}
/// nvcc splits aggregates and does not always merge the parts: a store of 16 bytes became up to
/// eight stores of two. Inline assembly gives one store.
template <class T>
SIMT_DEVICE void store(T* to, std::type_identity_t<T> value) {
    if constexpr (sizeof(T) == 16 && alignof(T) == 16) {
        if (!__isShared(to)) {
            const uint4 bits = __builtin_bit_cast(uint4, value);
            asm volatile(
                "st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w)
                : "memory");
            return;
        }
    }
    *to = value;
}
template <class T>
SIMT_DEVICE Vector16<std::remove_const_t<T>> load_vector(T* from) {
    return *reinterpret_cast<const Vector16<std::remove_const_t<T>>*>(from);
}
template <class T>
SIMT_DEVICE void store_vector(T* to, const Vector16<T>& value) {
    store(reinterpret_cast<Vector16<T>*>(to), value);
}
template <class T>
SIMT_DEVICE void prefetch(T* address) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(address)));
}

// ---- Atomics: each returns the value from before

template <class T>
SIMT_DEVICE T atomic_add(T* place, std::type_identity_t<T> value) {
    return atomicAdd(place, value);
}
template <class T>
SIMT_DEVICE T atomic_max(T* place, std::type_identity_t<T> value) {
    static_assert(std::is_integral_v<T>, "CUDA has atomicMax of integers only");
    return atomicMax(place, value);
}
template <class T>
SIMT_DEVICE T atomic_cas(T* place, std::type_identity_t<T> expected,
                         std::type_identity_t<T> desired) {
    return atomicCAS(place, expected, desired);
}

// ---- Barriers and warp collectives

SIMT_DEVICE void sync_threads() {
    __syncthreads();
}
SIMT_DEVICE void sync_barrier(int barrier, int threads) {
    asm volatile("barrier.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
SIMT_DEVICE void arrive_barrier(int barrier, int threads) {
    asm volatile("barrier.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
SIMT_DEVICE void sync_warp(std::uint32_t mask = all_lanes) {
    __syncwarp(mask);
}

template <class T>
SIMT_DEVICE T shuffle(T value, int lane, int width = warp_lanes, std::uint32_t mask = all_lanes) {
    return __shfl_sync(mask, value, lane, width);
}
template <class T>
SIMT_DEVICE T shuffle_up(T value, int distance, int width = warp_lanes,
                         std::uint32_t mask = all_lanes) {
    return __shfl_up_sync(mask, value, static_cast<unsigned>(distance), width);
}
template <class T>
SIMT_DEVICE T shuffle_down(T value, int distance, int width = warp_lanes,
                           std::uint32_t mask = all_lanes) {
    return __shfl_down_sync(mask, value, static_cast<unsigned>(distance), width);
}
template <class T>
SIMT_DEVICE T shuffle_xor(T value, int lane_bits, int width = warp_lanes,
                          std::uint32_t mask = all_lanes) {
    return __shfl_xor_sync(mask, value, lane_bits, width);
}
SIMT_DEVICE bool vote_any(bool predicate, std::uint32_t mask = all_lanes) {
    return __any_sync(mask, predicate) != 0;
}
SIMT_DEVICE bool vote_all(bool predicate, std::uint32_t mask = all_lanes) {
    return __all_sync(mask, predicate) != 0;
}
SIMT_DEVICE std::uint32_t ballot(bool predicate, std::uint32_t mask = all_lanes) {
    return __ballot_sync(mask, predicate);
}

// ---- Asynchronous copies

/// Past L1, as tiles are read once by a block.
template <class T>
SIMT_DEVICE void cp_async_16(T* to, const T* from, int source_bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(source_bytes)
                 : "memory");
}
SIMT_DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int pending>
SIMT_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
SIMT_DEVICE void cp_async_wait_all() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

// ---- Matrices

template <class T>
SIMT_DEVICE void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2]) {
    static_assert(std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float16>);
    if constexpr (std::is_same_v<T, Bfloat16>) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
}

SIMT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                  const std::uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <int matrices, class T>
SIMT_DEVICE void ldmatrix(std::uint32_t (&r)[matrices], T* row) {
    static_assert(sizeof(T) == 2 && (matrices == 1 || matrices == 2 || matrices == 4));
    const std::uint32_t address = shared_address(row);
    if constexpr (matrices == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(r[0])
                     : "r"(address)
                     : "memory");
    } else if constexpr (matrices == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    }
}

template <int matrices, class T>
SIMT_DEVICE void ldmatrix_transposed(std::uint32_t (&r)[matrices], T* row) {
    static_assert(sizeof(T) == 2 && (matrices == 1 || matrices == 2 || matrices == 4));
    const std::uint32_t address = shared_address(row);
    if constexpr (matrices == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(r[0])
                     : "r"(address)
                     : "memory");
    } else if constexpr (matrices == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    }
}

// ---- Numbers

SIMT_DEVICE float exp2_approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
SIMT_DEVICE float rsqrt_approximate(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
SIMT_DEVICE std::uint32_t round_to_tf32(float x) {
    std::uint32_t y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
SIMT_DEVICE std::uint32_t to_bits(float x) {
    return __float_as_uint(x);
}
SIMT_DEVICE float from_bits(std::uint32_t bits) {
    return __uint_as_float(bits);
}
SIMT_DEVICE int opaque(int x) {
    asm volatile("" : "+r"(x));
    return x;
}
SIMT_DEVICE float sin_pi(float x) {
    return sinpif(x);
}
SIMT_DEVICE float cos_pi(float x) {
    return cospif(x);
}

SIMT_DEVICE float to_float(float x) {
    return x;
}
SIMT_DEVICE float to_float(Bfloat16 x) {
    return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16U);
}
SIMT_DEVICE float to_float(Float16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

template <class T>
SIMT_DEVICE T round_to(float x) {
    if constexpr (std::is_same_v<T, float>) {
        return x;
    } else {
        T y;
        if constexpr (std::is_same_v<T, Bfloat16>) {
            asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
        } else {
            asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
        }
        return y;
    }
}

/// The instruction names the high half first.
template <class T>
SIMT_DEVICE std::uint32_t pack_pair(float low, float high) {
    std::uint32_t y;
    if constexpr (std::is_same_v<T, Bfloat16>) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    } else {
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    }
    return y;
}

// ---- Launches

inline std::string describe(const Launch& how) {
    const auto text = [](const Dim3& extent) {
        return std::to_string(extent.x) + " x " + std::to_string(extent.y) + " x " +
               std::to_string(extent.z);
    };
    return std::string("kernel ") + how.name + ", grid " + text(how.grid) + ", block " +
           text(how.block) + ", " + std::to_string(how.shared_bytes) + " bytes of shared memory";
}

inline void check_launch(cudaError_t status, const Launch& how) {
    if (status == cudaSuccess) return;
    throw Error(ExitCode::check_failed,
                "cannot launch " + describe(how) + ": " + cudaGetErrorString(status));
}

template <class... Parameters, class... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments&&... arguments) {
    constexpr std::size_t bytes_without_opt_in = 48 * 1024;
    if (how.shared_bytes > bytes_without_opt_in) {
        check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(how.shared_bytes)),
                     how);
    }
    const auto cuda = [](const Dim3& extent) {
        return dim3(static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y),
                    static_cast<unsigned>(extent.z));
    };
    kernel<<<cuda(how.grid), cuda(how.block), how.shared_bytes, how.stream>>>(
        std::forward<Arguments>(arguments)...);
    check_launch(cudaGetLastError(), how);
}

}  // namespace isoflop::simt
