// What the vocabulary calls for the thread that runs: each access is checked, then counted, then
// made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "simt_emulator/block.hpp"
#include "simt_emulator/location.hpp"
#include "simt_emulator/pointers.hpp"

namespace isoflop::emulator {

/// Bounds in bytes; `end` null: unknown.
struct GlobalAddress {
    std::byte* address;
    const std::byte* begin;
    const std::byte* end;
};

template <class T>
GlobalAddress address_of(const GlobalPointer<T>& pointer) {
    const auto bytes = [](T* p) {
        return reinterpret_cast<std::byte*>(const_cast<std::remove_cv_t<T>*>(p));
    };
    return {bytes(pointer.get()), bytes(pointer.begin()), bytes(pointer.end())};
}

struct SharedAddress {
    const SharedRegion* region;
    std::int64_t offset;
};

template <class T>
SharedAddress address_of(const SharedPointer<T>& pointer) {
    return {pointer.region(), pointer.offset()};
}

void load(const GlobalAddress& from, void* to, std::size_t bytes, const simt::Location& where);
void store(const GlobalAddress& to, const void* from, std::size_t bytes,
           const simt::Location& where);
/// The place to read and change; no other thread comes between.
std::byte* atomic(const GlobalAddress& place, std::size_t bytes, const simt::Location& where);

void load(const SharedAddress& from, void* to, std::size_t bytes, const simt::Location& where);
void store(const SharedAddress& to, const void* from, std::size_t bytes,
           const simt::Location& where);
std::byte* atomic(const SharedAddress& place, std::size_t bytes, const simt::Location& where);

const SharedRegion& static_shared(const void* key, const char* name, std::size_t bytes,
                                  const simt::Location& where);
const SharedRegion& dynamic_shared(std::int64_t begin, std::int64_t bytes,
                                   const simt::Location& where);

void sync_threads(const simt::Location& where);
void sync_barrier(int barrier, int threads, const simt::Location& where);
void arrive_barrier(int barrier, int threads, const simt::Location& where);
void sync_warp(std::uint32_t mask, const simt::Location& where);

void cp_async(const SharedAddress& to, const GlobalAddress& from, int source_bytes,
              const simt::Location& where);
void cp_async_commit();
void cp_async_wait_group(int pending, const simt::Location& where);
void cp_async_wait_all(const simt::Location& where);

/// A warp collective: all lanes of `mask` bring a value, and `execute` fills in what they take
/// away.
template <class Values>
void collective(const char* name, std::uint32_t mask, const simt::Location& where, Values& mine,
                Rendezvous::Execute execute) {
    Thread& thread = Block::current_thread();
    Rendezvous rendezvous{name, mask, thread.block->sites().intern(where), &mine, execute};
    thread.block->meet(thread, rendezvous);
}

}  // namespace isoflop::emulator
