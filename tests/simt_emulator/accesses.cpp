#include "simt_emulator/accesses.hpp"

#include <bit>
#include <cstring>

namespace isoflop::emulator {
namespace {

/// The thread that runs, at a place of its kernel.
struct Here {
    explicit Here(const simt::Location& where)
        : thread(Block::current_thread()),
          block(*thread.block),
          site(block.sites().intern(where)) {}

    [[noreturn]] void fault(FaultKind kind, const std::string& what) const {
        block.fault(kind, thread, site, what);
    }

    Thread& thread;
    Block& block;
    Site site;
};

void check_alignment(const Here& here, std::uint64_t address, std::size_t bytes) {
    if ((address & (bytes - 1)) != 0) {
        here.fault(FaultKind::misaligned,
                   "an access of " + std::to_string(bytes) + " bytes at an address that is " +
                       std::to_string(address & (bytes - 1)) + " bytes past a multiple of that");
    }
}

/// `bytes` are touched, a power of two; of them `used` count. Without use there is no need for a
/// valid address.
void check_global(const Here& here, const GlobalAddress& place, std::size_t bytes, std::size_t used,
                  AccessKind kind) {
    const auto address = reinterpret_cast<std::uintptr_t>(place.address);
    check_alignment(here, address, bytes);
    if (used == 0) return;
    if (place.address == nullptr) here.fault(FaultKind::out_of_bounds, "a null pointer");
    if (place.end != nullptr) {
        const auto begin = reinterpret_cast<std::uintptr_t>(place.begin);
        const auto end = reinterpret_cast<std::uintptr_t>(place.end);
        if (address < begin || address + used > end) {
            here.fault(FaultKind::out_of_bounds,
                       std::to_string(used) + " bytes at byte " +
                           std::to_string(static_cast<std::int64_t>(address - begin)) +
                           " of global memory of " + std::to_string(end - begin) + " bytes");
        }
    }
    here.block.record(here.thread, {address, static_cast<std::uint32_t>(used), here.site, kind});
}

/// The offset in the block's shared memory.
std::size_t check_shared(const Here& here, const SharedAddress& place, std::size_t bytes,
                         AccessKind kind) {
    if (place.region == nullptr) here.fault(FaultKind::out_of_bounds, "a null pointer");
    const auto size = static_cast<std::int64_t>(place.region->bytes);
    if (place.offset < 0 || place.offset + static_cast<std::int64_t>(bytes) > size) {
        here.fault(FaultKind::out_of_bounds,
                   std::to_string(bytes) + " bytes at byte " + std::to_string(place.offset) +
                       " of " + place.region->name + ", which has " + std::to_string(size));
    }
    const std::size_t begin = place.region->begin + static_cast<std::size_t>(place.offset);
    check_alignment(here, begin, bytes);
    here.block.record(here.thread, {begin, static_cast<std::uint32_t>(bytes), here.site, kind});
    return begin;
}

void check_conflict(const Here& here, const Conflict& conflict, const SharedAddress& place,
                    const char* action) {
    if (!conflict) return;
    const std::string byte = std::string(action) + " byte " +
                             std::to_string(conflict.byte - place.region->begin) + " of " +
                             place.region->name;
    const simt::Dim3& extent = here.block.grid().block_threads;
    const int other = conflict.other_thread;
    const std::string other_text = "thread (" + std::to_string(other % extent.x) + ", " +
                                   std::to_string(other / extent.x % extent.y) + ", " +
                                   std::to_string(other / extent.x / extent.y) + ") " +
                                   conflict.other_action + " it, " +
                                   here.block.sites().text(conflict.other_site);
    switch (conflict.kind) {
        case Conflict::Kind::none: return;
        case Conflict::Kind::unwritten:
            here.fault(FaultKind::unwritten_read, byte + ", which nobody has written");
        case Conflict::Kind::copy_under_way:
            here.fault(FaultKind::async_read_before_wait,
                       byte + " before the cp.async has been waited for; " + other_text);
        case Conflict::Kind::race:
            here.fault(FaultKind::shared_race,
                       byte + ", but " + other_text + ", with no barrier in between");
    }
}

void finish_copies(const Here& here, const std::vector<AsyncCopy>& copies) {
    SharedMemory& shared = here.block.shared();
    for (const AsyncCopy& copy : copies) {
        std::memset(shared.data(copy.to), 0, copy.bytes);
        if (copy.source_bytes > 0) std::memcpy(shared.data(copy.to), copy.from, copy.source_bytes);
        shared.shadow().finish_copy(copy.to, copy.bytes, here.thread.number, here.site);
    }
}

void check_barrier(const Here& here, int barrier, int threads) {
    const simt::Dim3& extent = here.block.grid().block_threads;
    if (barrier < 0 || barrier >= simt::block_barriers || threads <= 0 ||
        threads % simt::warp_lanes != 0 || threads > extent.x * extent.y * extent.z) {
        here.fault(FaultKind::barrier_divergence,
                   "barrier " + std::to_string(barrier) + " for " + std::to_string(threads) +
                       " threads; there are barriers 0 to 15, for whole warps of the block");
    }
}

}  // namespace

void load(const GlobalAddress& from, void* to, std::size_t bytes, const simt::Location& where) {
    check_global(Here(where), from, bytes, bytes, AccessKind::global_load);
    std::memcpy(to, from.address, bytes);
}

void store(const GlobalAddress& to, const void* from, std::size_t bytes,
           const simt::Location& where) {
    check_global(Here(where), to, bytes, bytes, AccessKind::global_store);
    std::memcpy(to.address, from, bytes);
}

std::byte* atomic(const GlobalAddress& place, std::size_t bytes, const simt::Location& where) {
    check_global(Here(where), place, bytes, bytes, AccessKind::global_atomic);
    return place.address;
}

void load(const SharedAddress& from, void* to, std::size_t bytes, const simt::Location& where) {
    const Here here(where);
    SharedMemory& shared = here.block.shared();
    const std::size_t begin = check_shared(here, from, bytes, AccessKind::shared_load);
    const Conflict conflict = shared.shadow().read(begin, bytes, here.thread.number, here.site);
    check_conflict(here, conflict, from, "reads");
    std::memcpy(to, shared.data(begin), bytes);
}

void store(const SharedAddress& to, const void* from, std::size_t bytes,
           const simt::Location& where) {
    const Here here(where);
    SharedMemory& shared = here.block.shared();
    const std::size_t begin = check_shared(here, to, bytes, AccessKind::shared_store);
    const Conflict conflict = shared.shadow().write(begin, bytes, here.thread.number, here.site);
    check_conflict(here, conflict, to, "writes");
    std::memcpy(shared.data(begin), from, bytes);
}

std::byte* atomic(const SharedAddress& place, std::size_t bytes, const simt::Location& where) {
    const Here here(where);
    SharedMemory& shared = here.block.shared();
    const std::size_t begin = check_shared(here, place, bytes, AccessKind::shared_atomic);
    const Conflict conflict = shared.shadow().atomic(begin, bytes, here.thread.number, here.site);
    check_conflict(here, conflict, place, "atomically changes");
    return shared.data(begin);
}

const SharedRegion& static_shared(const void* key, const char* name, std::size_t bytes,
                                  const simt::Location& where) {
    const Here here(where);
    SharedMemory& shared = here.block.shared();
    const SharedRegion& region = shared.declare(key, name, bytes);
    const std::size_t dynamic = here.block.grid().dynamic_shared_bytes;
    if (shared.used_bytes() > SharedMemory::max_bytes ||
        shared.used_bytes() - dynamic > SharedMemory::max_static_bytes) {
        here.fault(FaultKind::unsupported_launch,
                   std::string(name) + " brings shared memory to " +
                       std::to_string(shared.used_bytes()) +
                       " bytes; at most 48 KiB may be static, and 227 KiB is all that any GPU has");
    }
    return region;
}

const SharedRegion& dynamic_shared(std::int64_t begin, std::int64_t bytes,
                                   const simt::Location& where) {
    const Here here(where);
    const SharedRegion& whole = here.block.dynamic_shared();
    const auto size = static_cast<std::int64_t>(whole.bytes);
    if (begin < 0 || bytes < 0 || begin + bytes > size) {
        here.fault(FaultKind::out_of_bounds, std::to_string(bytes) + " bytes at byte " +
                                                 std::to_string(begin) + " of " + whole.name +
                                                 ", which has " + std::to_string(size));
    }
    return here.block.shared().part(whole, static_cast<std::size_t>(begin),
                                    static_cast<std::size_t>(bytes));
}

void sync_threads(const simt::Location& where) {
    const Here here(where);
    const simt::Dim3& extent = here.block.grid().block_threads;
    here.block.wait_at_barrier(here.thread, 0, extent.x * extent.y * extent.z, here.site);
}

void sync_barrier(int barrier, int threads, const simt::Location& where) {
    const Here here(where);
    check_barrier(here, barrier, threads);
    here.block.wait_at_barrier(here.thread, barrier, threads, here.site);
}

void arrive_barrier(int barrier, int threads, const simt::Location& where) {
    const Here here(where);
    check_barrier(here, barrier, threads);
    here.block.arrive_at_barrier(here.thread, barrier, threads, here.site);
}

void sync_warp(std::uint32_t mask, const simt::Location& where) {
    int nothing = 0;
    collective("sync_warp", mask, where, nothing,
               [](Block& block, std::uint32_t lanes, const std::array<void*, 32>&) {
                   block.order_lanes(Block::current_thread().warp(), lanes);
               });
}

void cp_async(const SharedAddress& to, const GlobalAddress& from, int source_bytes,
              const simt::Location& where) {
    constexpr std::size_t bytes = 16;
    const Here here(where);
    if (source_bytes < 0 || source_bytes > static_cast<int>(bytes)) {
        here.fault(FaultKind::out_of_bounds,
                   "a cp.async of " + std::to_string(source_bytes) + " of 16 bytes");
    }
    const auto used = static_cast<std::size_t>(source_bytes);
    check_global(here, from, bytes, used, AccessKind::global_load);
    const std::size_t begin = check_shared(here, to, bytes, AccessKind::shared_store);
    SharedMemory& shared = here.block.shared();
    const Conflict conflict =
        shared.shadow().begin_copy(begin, bytes, here.thread.number, here.site);
    check_conflict(here, conflict, to, "copies into");
    std::memset(shared.data(begin), SharedMemory::poison, bytes);
    here.thread.copies.add({begin, from.address, bytes, used});
}

void cp_async_commit() {
    Block::current_thread().copies.commit();
}

void cp_async_wait_group(int pending, const simt::Location& where) {
    const Here here(where);
    finish_copies(here, here.thread.copies.wait_group(static_cast<std::size_t>(pending)));
}

void cp_async_wait_all(const simt::Location& where) {
    const Here here(where);
    finish_copies(here, here.thread.copies.wait_all());
}

}  // namespace isoflop::emulator
