// The kernel vocabulary under the host compiler: every function calls the emulator. Included by
// device/cuda/simt.hpp only, which documents it; simt_cuda.hpp is its twin.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "isoflop/base/half_precision.hpp"
#include "simt_emulator/accesses.hpp"
#include "simt_emulator/instructions.hpp"

#define SIMT_KERNEL inline
#define SIMT_DEVICE inline
#define SIMT_LAUNCH_BOUNDS(threads)
#define SIMT_UNROLL
#define SIMT_UNROLL_BY(count)
// The address of the static tells declarations apart, also between instances of a template.
#define SIMT_SHARED_ARRAY(type, name, count)                                     \
    const ::isoflop::simt::Shared<type> name(::isoflop::emulator::static_shared( \
        [] {                                                                     \
            static const char key = 0;                                           \
            return static_cast<const void*>(&key);                               \
        }(),                                                                     \
        #name, sizeof(type) * static_cast<std::size_t>(count),                   \
        ::isoflop::simt::Location::current()))

namespace isoflop::simt {

template <class T>
using Global = emulator::GlobalPointer<T>;
template <class T>
using Shared = emulator::SharedPointer<T>;

// ---- Positions

inline Dim3 thread_index() {
    return emulator::Block::current_thread().index;
}
inline Dim3 block_index() {
    return emulator::Block::current_thread().block->index();
}
inline Dim3 block_size() {
    return emulator::Block::current_thread().block->grid().block_threads;
}
inline Dim3 grid_size() {
    return emulator::Block::current_thread().block->grid().blocks;
}
inline int lane_index() {
    return emulator::Block::current_thread().lane();
}
inline int warp_index() {
    return emulator::Block::current_thread().warp();
}

// ---- Shared memory

template <class T>
Shared<T> dynamic_shared(std::int64_t offset_bytes, std::int64_t elements,
                         Location where = Location::current()) {
    return Shared<T>(emulator::dynamic_shared(
        offset_bytes, elements * static_cast<std::int64_t>(sizeof(T)), where));
}

template <class U, class T>
Shared<U> pointer_cast(const Shared<T>& pointer) {
    return pointer.region() == nullptr ? Shared<U>()
                                       : Shared<U>(*pointer.region(), pointer.offset());
}

template <class U, class T>
Global<U> pointer_cast(const Global<T>& pointer) {
    return {reinterpret_cast<U*>(pointer.get()), reinterpret_cast<U*>(pointer.begin()),
            reinterpret_cast<U*>(pointer.end())};
}

// ---- Loads and stores

template <class T>
std::remove_const_t<T> load(const Global<T>& from, Location where = Location::current()) {
    std::remove_const_t<T> value;
    emulator::load(emulator::address_of(from), &value, sizeof value, where);
    return value;
}

template <class T>
std::remove_const_t<T> load(const Shared<T>& from, Location where = Location::current()) {
    std::remove_const_t<T> value;
    emulator::load(emulator::address_of(from), &value, sizeof value, where);
    return value;
}

template <class T>
void store(const Global<T>& to, std::type_identity_t<T> value,
           Location where = Location::current()) {
    emulator::store(emulator::address_of(to), &value, sizeof value, where);
}

template <class T>
void store(const Shared<T>& to, std::type_identity_t<T> value,
           Location where = Location::current()) {
    emulator::store(emulator::address_of(to), &value, sizeof value, where);
}

template <class T>
Vector16<std::remove_const_t<T>> load_vector(const Global<T>& from,
                                             Location where = Location::current()) {
    Vector16<std::remove_const_t<T>> value;
    emulator::load(emulator::address_of(from), &value, sizeof value, where);
    return value;
}

template <class T>
Vector16<std::remove_const_t<T>> load_vector(const Shared<T>& from,
                                             Location where = Location::current()) {
    Vector16<std::remove_const_t<T>> value;
    emulator::load(emulator::address_of(from), &value, sizeof value, where);
    return value;
}

template <class T>
void store_vector(const Global<T>& to, const Vector16<T>& value,
                  Location where = Location::current()) {
    emulator::store(emulator::address_of(to), &value, sizeof value, where);
}

template <class T>
void store_vector(const Shared<T>& to, const Vector16<T>& value,
                  Location where = Location::current()) {
    emulator::store(emulator::address_of(to), &value, sizeof value, where);
}

/// A hint that may name any address.
template <class T>
void prefetch(const Global<T>&) {}

// ---- Atomics: each returns the value from before

/// `change` makes the new value of the old one.
template <class Pointer, class T, class Change>
T change_atomically(const Pointer& place, T value, Location where, Change change) {
    std::byte* bytes = emulator::atomic(emulator::address_of(place), sizeof(T), where);
    T old;
    std::memcpy(&old, bytes, sizeof old);
    const T changed = change(old, value);
    std::memcpy(bytes, &changed, sizeof changed);
    return old;
}

template <class T, template <class> class Pointer>
T atomic_add(const Pointer<T>& place, std::type_identity_t<T> value,
             Location where = Location::current()) {
    return change_atomically(place, value, where, [](T old, T add) {
        if constexpr (std::is_integral_v<T>) {  // wraps, as on a GPU
            using Unsigned = std::make_unsigned_t<T>;
            return static_cast<T>(static_cast<Unsigned>(old) + static_cast<Unsigned>(add));
        } else {
            return old + add;
        }
    });
}

template <class T, template <class> class Pointer>
T atomic_max(const Pointer<T>& place, std::type_identity_t<T> value,
             Location where = Location::current()) {
    static_assert(std::is_integral_v<T>, "CUDA has atomicMax of integers only");
    return change_atomically(place, value, where,
                             [](T old, T other) { return old < other ? other : old; });
}

template <class T, template <class> class Pointer>
T atomic_cas(const Pointer<T>& place, std::type_identity_t<T> expected,
             std::type_identity_t<T> desired, Location where = Location::current()) {
    return change_atomically(place, desired, where, [expected](T old, T wanted) {
        return old == expected ? wanted : old;
    });
}

// ---- Barriers and warp collectives

inline void sync_threads(Location where = Location::current()) {
    emulator::sync_threads(where);
}
inline void sync_barrier(int barrier, int threads, Location where = Location::current()) {
    emulator::sync_barrier(barrier, threads, where);
}
inline void arrive_barrier(int barrier, int threads, Location where = Location::current()) {
    emulator::arrive_barrier(barrier, threads, where);
}
inline void sync_warp(std::uint32_t mask = all_lanes, Location where = Location::current()) {
    emulator::sync_warp(mask, where);
}

template <class T>
T shuffle_as_bits(emulator::ShuffleMode mode, T value, int operand, int width, std::uint32_t mask,
                  Location where) {
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = emulator::shuffle(mode, bits, operand, width, mask, where);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
T shuffle(T value, int lane, int width = warp_lanes, std::uint32_t mask = all_lanes,
          Location where = Location::current()) {
    return shuffle_as_bits(emulator::ShuffleMode::index, value, lane, width, mask, where);
}

template <class T>
T shuffle_up(T value, int distance, int width = warp_lanes, std::uint32_t mask = all_lanes,
             Location where = Location::current()) {
    return shuffle_as_bits(emulator::ShuffleMode::up, value, distance, width, mask, where);
}

template <class T>
T shuffle_down(T value, int distance, int width = warp_lanes, std::uint32_t mask = all_lanes,
               Location where = Location::current()) {
    return shuffle_as_bits(emulator::ShuffleMode::down, value, distance, width, mask, where);
}

template <class T>
T shuffle_xor(T value, int lane_bits, int width = warp_lanes, std::uint32_t mask = all_lanes,
              Location where = Location::current()) {
    return shuffle_as_bits(emulator::ShuffleMode::exclusive_or, value, lane_bits, width, mask,
                           where);
}

inline bool vote_any(bool predicate, std::uint32_t mask = all_lanes,
                     Location where = Location::current()) {
    return emulator::ballot("vote_any", predicate, mask, where) != 0;
}
inline bool vote_all(bool predicate, std::uint32_t mask = all_lanes,
                     Location where = Location::current()) {
    return emulator::ballot("vote_all", predicate, mask, where) == mask;
}
inline std::uint32_t ballot(bool predicate, std::uint32_t mask = all_lanes,
                            Location where = Location::current()) {
    return emulator::ballot("ballot", predicate, mask, where);
}

// ---- Asynchronous copies

template <class T>
void cp_async_16(const Shared<T>& to, const Global<const T>& from, int source_bytes = 16,
                 Location where = Location::current()) {
    emulator::cp_async(emulator::address_of(to), emulator::address_of(from), source_bytes, where);
}
inline void cp_async_commit() {
    emulator::cp_async_commit();
}
template <int pending>
void cp_async_wait(Location where = Location::current()) {
    emulator::cp_async_wait_group(pending, where);
}
inline void cp_async_wait_all(Location where = Location::current()) {
    emulator::cp_async_wait_all(where);
}

// ---- Matrices

template <class T>
void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  Location where = Location::current()) {
    static_assert(std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float16>);
    emulator::mma(std::is_same_v<T, Bfloat16> ? emulator::MatrixType::bfloat16
                                              : emulator::MatrixType::float16,
                  d, a, b, where);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2], Location where = Location::current()) {
    emulator::mma(emulator::MatrixType::tf32, d, a, b, where);
}

template <int matrices, class T>
void ldmatrix(std::uint32_t (&result)[matrices], const Shared<T>& row,
              Location where = Location::current()) {
    static_assert(sizeof(T) == 2 && (matrices == 1 || matrices == 2 || matrices == 4));
    emulator::ldmatrix(matrices, false, result, emulator::address_of(row), where);
}
template <int matrices, class T>
void ldmatrix_transposed(std::uint32_t (&result)[matrices], const Shared<T>& row,
                         Location where = Location::current()) {
    static_assert(sizeof(T) == 2 && (matrices == 1 || matrices == 2 || matrices == 4));
    emulator::ldmatrix(matrices, true, result, emulator::address_of(row), where);
}

// ---- Numbers

inline float exp2_approximate(float x) {
    return emulator::exp2_approximate(x);
}
inline float rsqrt_approximate(float x) {
    return emulator::rsqrt_approximate(x);
}
inline std::uint32_t round_to_tf32(float x) {
    return emulator::round_to_tf32(x);
}
inline std::uint32_t to_bits(float x) {
    return std::bit_cast<std::uint32_t>(x);
}
inline float from_bits(std::uint32_t bits) {
    return std::bit_cast<float>(bits);
}
inline int opaque(int x) {
    return x;
}
inline float sin_pi(float x) {
    return static_cast<float>(std::sin(std::numbers::pi * static_cast<double>(x)));
}
inline float cos_pi(float x) {
    return static_cast<float>(std::cos(std::numbers::pi * static_cast<double>(x)));
}

inline float to_float(float x) {
    return x;
}
inline float to_float(Bfloat16 x) {
    return bfloat16_to_float(x.bits);
}
inline float to_float(Float16 x) {
    return float16_to_float(x.bits);
}

template <class T>
T round_to(float x) {
    if constexpr (std::is_same_v<T, float>) {
        return x;
    } else if constexpr (std::is_same_v<T, Bfloat16>) {
        return {float_to_bfloat16(x)};
    } else {
        return {float_to_float16(x)};
    }
}

template <class T>
std::uint32_t pack_pair(float low, float high) {
    return static_cast<std::uint32_t>(round_to<T>(low).bits) |
           static_cast<std::uint32_t>(round_to<T>(high).bits) << 16U;
}

// ---- Launches

template <class... Parameters, class... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments&&... arguments) {
    const std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
    const emulator::Session* session = emulator::Session::current();
    emulator::run_grid({.kernel_name = how.name,
                        .blocks = how.grid,
                        .block_threads = how.block,
                        .dynamic_shared_bytes = how.shared_bytes,
                        .body = [&] { std::apply(kernel, values); },
                        .options = session != nullptr ? session->options() : emulator::Options{}});
}

}  // namespace isoflop::simt
