#include "simt_emulator/shadow_memory.hpp"

#include <bit>

namespace isoflop::emulator {
namespace {

constexpr int lanes = 32;

}  // namespace

void ShadowMemory::grow(std::size_t bytes) {
    if (bytes > cells_.size()) cells_.resize(bytes);
}

void ShadowMemory::start_block(int warps) {
    warps_ = warps;
    readers_.clear();
    // Stamps of earlier blocks are recognised by their ticks; only this flag is not.
    for (Cell& cell : cells_) cell.copying = false;
}

int ShadowMemory::unordered_reader(const Cell& cell, int thread) const {
    if (cell.read.tick <= clocks_.last_full_barrier()) return -1;
    if (cell.readers == 0) return ordered(cell.read, thread) ? -1 : cell.read.thread;
    for (int warp = 0; warp < warps_; ++warp) {
        const WarpReaders& readers = readers_[place(cell, warp)];
        for (std::uint32_t left = readers.lanes; left != 0; left &= left - 1) {
            const int reader = warp * lanes + std::countr_zero(left);
            if (!clocks_.ordered(reader, readers.tick, thread)) return reader;
        }
    }
    return -1;
}

void ShadowMemory::remember(const Cell& cell, int thread, Tick tick) {
    WarpReaders& readers = readers_[place(cell, thread / lanes)];
    readers.tick = tick;
    readers.lanes |= 1U << static_cast<unsigned>(thread % lanes);
}

void ShadowMemory::add_reader(Cell& cell, int thread, Site site) {
    const bool fresh = cell.read.tick <= clocks_.last_full_barrier();
    if (fresh || (cell.readers == 0 && ordered(cell.read, thread)) ||
        (cell.readers != 0 && cell.read.tick != clocks_.now() &&
         unordered_reader(cell, thread) < 0)) {
        cell.readers = 0;  // accesses ordered after this read are ordered after the earlier reads
        cell.read = stamp(thread, site);
        return;
    }
    if (cell.readers == 0) {
        const std::size_t warps = static_cast<std::size_t>(warps_);
        cell.readers = static_cast<std::uint32_t>(readers_.size() / warps + 1);
        readers_.resize(readers_.size() + warps);
        remember(cell, cell.read.thread, cell.read.tick);
    }
    remember(cell, thread, clocks_.now());
    cell.read = stamp(thread, site);
}

Conflict ShadowMemory::check_before_read(const Cell& cell, int thread) const {
    if (cell.write.tick < clocks_.block_start()) return {.kind = Conflict::Kind::unwritten};
    if (cell.copying) {
        return {.kind = Conflict::Kind::copy_under_way,
                .other_thread = cell.write.thread,
                .other_site = cell.write.site,
                .other_action = "began to copy into"};
    }
    if (!ordered(cell.write, thread)) {
        return {.kind = Conflict::Kind::race,
                .other_thread = cell.write.thread,
                .other_site = cell.write.site,
                .other_action = "wrote"};
    }
    return {};
}

Conflict ShadowMemory::check_before_write(const Cell& cell, int thread) const {
    if (cell.write.tick >= clocks_.block_start() &&
        (cell.copying || !ordered(cell.write, thread))) {
        return {.kind = Conflict::Kind::race,
                .other_thread = cell.write.thread,
                .other_site = cell.write.site,
                .other_action = cell.copying ? "began to copy into" : "wrote"};
    }
    const int reader = unordered_reader(cell, thread);
    if (reader >= 0) {
        return {.kind = Conflict::Kind::race,
                .other_thread = reader,
                .other_site = cell.read.site,
                .other_action = cell.atomic ? "atomically changed" : "read"};
    }
    return {};
}

Conflict ShadowMemory::read(std::size_t begin, std::size_t bytes, int thread, Site site) {
    for (std::size_t byte = begin; byte < begin + bytes; ++byte) {
        Cell& cell = cells_[byte];
        Conflict conflict = check_before_read(cell, thread);
        if (!conflict && cell.atomic) {
            const int other = unordered_reader(cell, thread);
            if (other >= 0) {
                conflict = {.kind = Conflict::Kind::race,
                            .other_thread = other,
                            .other_site = cell.read.site,
                            .other_action = "atomically changed"};
            }
            cell.read.tick = 0;
            cell.readers = 0;
            cell.atomic = false;
        }
        if (conflict) {
            conflict.byte = byte;
            return conflict;
        }
        if (cell.read.tick == clocks_.now() && cell.read.thread == thread) continue;
        add_reader(cell, thread, site);
    }
    return {};
}

Conflict ShadowMemory::write(std::size_t begin, std::size_t bytes, int thread, Site site) {
    for (std::size_t byte = begin; byte < begin + bytes; ++byte) {
        Cell& cell = cells_[byte];
        if (Conflict conflict = check_before_write(cell, thread)) {
            conflict.byte = byte;
            return conflict;
        }
        cell = Cell{.write = stamp(thread, site), .read = {}};
    }
    return {};
}

Conflict ShadowMemory::atomic(std::size_t begin, std::size_t bytes, int thread, Site site) {
    for (std::size_t byte = begin; byte < begin + bytes; ++byte) {
        Cell& cell = cells_[byte];
        Conflict conflict = check_before_read(cell, thread);
        if (!conflict && !cell.atomic) {
            conflict = check_before_write(cell, thread);
            cell.read.tick = 0;
            cell.readers = 0;
            cell.atomic = true;
        }
        if (conflict) {
            conflict.byte = byte;
            return conflict;
        }
        add_reader(cell, thread, site);
    }
    return {};
}

Conflict ShadowMemory::begin_copy(std::size_t begin, std::size_t bytes, int thread, Site site) {
    const Conflict conflict = write(begin, bytes, thread, site);
    for (std::size_t byte = begin; byte < begin + bytes && !conflict; ++byte) {
        cells_[byte].copying = true;
    }
    return conflict;
}

void ShadowMemory::finish_copy(std::size_t begin, std::size_t bytes, int thread, Site site) {
    for (std::size_t byte = begin; byte < begin + bytes; ++byte) {
        cells_[byte] = Cell{.write = stamp(thread, site), .read = {}};
    }
}

}  // namespace isoflop::emulator
