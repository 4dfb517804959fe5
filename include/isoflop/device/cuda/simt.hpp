// The vocabulary that kernels are written in: under nvcc it is CUDA and some inline PTX
// (simt_cuda.hpp), under the host compiler an emulator that checks every access; the build names
// its header (ISOFLOP_SIMT_HOST, tests/simt_emulator/simt_host.hpp). The same source compiles both
// ways, so kernels are proven without a GPU. docs/testing_kernels.md shows how.
//
//   template <class T>
//   SIMT_KERNEL void scale(simt::Global<T> values, std::int64_t count, float factor) { ... }
//   simt::launch({.name = "scale", .grid = {blocks}, .block = {256}},
//                scale<float>, pointer, count, 2.0F);
//
// Memory is reached through simt::Global<T> and simt::Shared<T>, plain pointers under nvcc, by
// load, store, load_vector, store_vector (16 bytes), atomic_add, atomic_max and atomic_cas.
// SIMT_SHARED_ARRAY(type, name, count) declares static shared memory;
// dynamic_shared<T>(offset_bytes, elements) is a part of the dynamic one.
// SIMT_LAUNCH_BOUNDS(threads) after SIMT_KERNEL tells the most threads of a block, so that the
// compiler knows how many registers each can have. SIMT_UNROLL before a loop that indexes arrays
// meant for registers unrolls it; SIMT_UNROLL_BY(count) does so partly.
//
// Positions    thread_index, block_index, block_size, grid_size, lane_index, warp_index
// Barriers     sync_threads, sync_barrier and arrive_barrier (number 0 to 15, threads), sync_warp
// Collectives  shuffle, shuffle_up, shuffle_down, shuffle_xor, vote_any, vote_all, ballot; the mask
//              names the lanes that take part, each at the same place in the source
// Copies       cp_async_16 (global to shared, the bytes after source_bytes zero), cp_async_commit,
//              cp_async_wait<groups that may be left>, cp_async_wait_all; a wait is for the
//              thread's own copies only
// Matrices     mma_m16n8k16<Bfloat16 or Float16> and mma_m16n8k8_tf32 (d += a b), ldmatrix,
//              ldmatrix_transposed, with the fragments of the PTX manual
//              (tests/simt_emulator/instructions.cpp)
// Numbers      exp2_approximate, rsqrt_approximate, round_to_tf32, to_float, round_to<T>,
//              pack_pair<T>, to_bits and from_bits of a float, sin_pi and cos_pi (of pi x; std::sin
//              has a slow path for large numbers, which needs local memory)
//              opaque(x) is x, of which the compiler knows nothing: in a loop, what depends on it
//              is computed when it is needed instead of waiting in registers
//
// The last parameter of most functions is where they are called; it is not given by hand, and
// nothing under nvcc.
#pragma once

#include "isoflop/device/cuda/simt_types.hpp"

#if defined(__CUDACC__)
#include "isoflop/device/cuda/simt_cuda.hpp"
#elif defined(ISOFLOP_SIMT_HOST)
#include <isoflop_simt_host.hpp>
#else
#error "kernels are compiled by nvcc, or with ISOFLOP_SIMT_HOST for an emulator"
#endif
