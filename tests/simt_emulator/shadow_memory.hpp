// For each byte of shared memory the thread that accessed it last, and the checks on it: read
// before written, touched while a cp.async is under way, two threads with no order between them.
//
// The readers of a byte that nothing orders among each other are kept by warp, as the last tick at
// which a lane of it read: exact for barriers and for sync_warp of whole warps, which is what
// kernels use. Atomics count as readers that do not mind each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt_emulator/clocks.hpp"
#include "simt_emulator/sites.hpp"

namespace isoflop::emulator {

struct Conflict {
    enum class Kind { none, unwritten, copy_under_way, race };
    Kind kind = Kind::none;
    std::size_t byte = 0;  // the first byte concerned
    int other_thread = 0;
    Site other_site = 0;
    const char* other_action = "";  // "wrote", "read" ...

    explicit operator bool() const { return kind != Kind::none; }
};

class ShadowMemory {
public:
    explicit ShadowMemory(const Clocks& clocks) : clocks_(clocks) {}

    void grow(std::size_t bytes);
    void start_block(int warps);
    /// After a barrier of the whole block no reader before it can be in a race any more.
    void forget_readers() { readers_.clear(); }

    Conflict read(std::size_t begin, std::size_t bytes, int thread, Site site);
    Conflict write(std::size_t begin, std::size_t bytes, int thread, Site site);
    Conflict atomic(std::size_t begin, std::size_t bytes, int thread, Site site);
    /// A cp.async is issued: the bytes are undefined until finish_copy.
    Conflict begin_copy(std::size_t begin, std::size_t bytes, int thread, Site site);
    void finish_copy(std::size_t begin, std::size_t bytes, int thread, Site site);

private:
    struct Stamp {
        Tick tick = 0;
        std::uint16_t thread = 0;
        Site site = 0;
    };
    struct WarpReaders {
        Tick tick = 0;
        std::uint32_t lanes = 0;
    };
    struct Cell {
        Stamp write;
        Stamp read;                 // the latest; tick 0: none since the write
        std::uint32_t readers = 0;  // several: 1 + index of their warps
        bool copying = false;
        bool atomic = false;  // the readers are atomics
    };

    [[nodiscard]] Stamp stamp(int thread, Site site) const {
        return {clocks_.now(), static_cast<std::uint16_t>(thread), site};
    }
    [[nodiscard]] bool ordered(const Stamp& event, int thread) const {
        return clocks_.ordered(event.thread, event.tick, thread);
    }
    /// -1, or a thread that has read the cell with no order before `thread`.
    [[nodiscard]] int unordered_reader(const Cell& cell, int thread) const;
    void add_reader(Cell& cell, int thread, Site site);
    /// The place of a warp among the readers of a cell that has several.
    [[nodiscard]] std::size_t place(const Cell& cell, int warp) const {
        return (cell.readers - 1) * static_cast<std::size_t>(warps_) +
               static_cast<std::size_t>(warp);
    }
    void remember(const Cell& cell, int thread, Tick tick);
    [[nodiscard]] Conflict check_before_read(const Cell& cell, int thread) const;
    [[nodiscard]] Conflict check_before_write(const Cell& cell, int thread) const;

    const Clocks& clocks_;
    std::vector<Cell> cells_;
    std::vector<WarpReaders> readers_;
    int warps_ = 0;
};

}  // namespace isoflop::emulator
