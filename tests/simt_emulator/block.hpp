// The threads of one block, what they wait for, and which runs next. Blocks of a grid run one after
// the other: kernels in which blocks wait for each other cannot be emulated.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "isoflop/device/cuda/simt_types.hpp"
#include "simt_emulator/async_copies.hpp"
#include "simt_emulator/clocks.hpp"
#include "simt_emulator/fault.hpp"
#include "simt_emulator/fiber.hpp"
#include "simt_emulator/options.hpp"
#include "simt_emulator/request_log.hpp"
#include "simt_emulator/shared_memory.hpp"
#include "simt_emulator/sites.hpp"

namespace isoflop::emulator {

class Block;

/// What a lane brings to a warp collective. `execute` sees what all lanes of the mask bring, by
/// lane, and fills in results.
struct Rendezvous {
    const char* name;
    std::uint32_t mask;
    Site site;
    void* values;
    using Execute = void (*)(Block& block, std::uint32_t mask, const std::array<void*, 32>& values);
    Execute execute;
};

struct Thread {
    enum class State { ready, at_barrier, in_collective, finished };

    Block* block = nullptr;
    int number = 0;  // in the block
    simt::Dim3 index;
    State state = State::ready;
    int barrier = 0;               // while at_barrier
    std::uint32_t arrived_at = 0;  // bit b: at barrier b, which is not complete
    Site site = 0;                 // of what it waits for
    AsyncCopies copies;
    Fiber* fiber = nullptr;

    [[nodiscard]] int lane() const { return number % simt::warp_lanes; }
    [[nodiscard]] int warp() const { return number / simt::warp_lanes; }
};

struct Warp {
    std::uint32_t members = 0;  // lanes that exist
    std::uint32_t ready = 0;
    std::array<Rendezvous*, 32> waiting{};
    RequestLog log;
};

struct Barrier {
    int expected = 0;  // 0: no thread has arrived yet
    Site site = 0;     // of the first to arrive
    std::vector<int> arrived;
    std::vector<int> waiting;  // those of `arrived` that wait
};

/// What is the same for all blocks of a launch.
struct Grid {
    std::string kernel_name;
    simt::Dim3 blocks;
    simt::Dim3 block_threads;
    std::size_t dynamic_shared_bytes = 0;
    std::function<void()> body;
    Options options;
};

class Block {
public:
    explicit Block(const Grid& grid);

    /// Throws the first fault.
    void run(const simt::Dim3& index);

    // For the thread that runs:
    [[nodiscard]] static Thread& current_thread();
    [[nodiscard]] const Grid& grid() const { return grid_; }
    [[nodiscard]] const simt::Dim3& index() const { return index_; }
    void wait_at_barrier(Thread& thread, int barrier, int expected, Site site);
    void arrive_at_barrier(Thread& thread, int barrier, int expected, Site site);
    void meet(Thread& thread, Rendezvous& mine);
    void order_lanes(int warp, std::uint32_t mask);
    [[noreturn]] void fault(FaultKind kind, const Thread& thread, Site site,
                            const std::string& what) const;
    [[nodiscard]] std::string describe(const Thread& thread) const;

    [[nodiscard]] Sites& sites() { return sites_; }
    [[nodiscard]] SharedMemory& shared() { return shared_; }
    [[nodiscard]] Counters& counters() { return counters_; }
    [[nodiscard]] const SharedRegion& dynamic_shared() const { return *dynamic_shared_; }
    void record(const Thread& thread, const Access& access) {
        if (grid_.options.count) warp_of(thread).log.record(thread.lane(), access);
    }

private:
    static void thread_body(void* thread);
    void start_threads();
    void run_threads();
    void cancel_threads();
    void resume(Thread& thread);
    void suspend(Thread& thread);
    void finish(Thread& thread);
    int next_thread();
    int next_random();
    [[noreturn]] void report_deadlock() const;
    void report_absent(int warp, int lane) const;
    [[nodiscard]] std::string whereabouts(const Thread& thread) const;

    Barrier& join_barrier(Thread& thread, int barrier, int expected, Site site);
    void complete_barrier(Barrier& barrier);
    void check_meeting(const Thread& thread, const Rendezvous& mine) const;
    void flush_requests();
    void set_ready(Thread& thread);
    [[nodiscard]] Warp& warp_of(const Thread& thread) {
        return warps_[static_cast<std::size_t>(thread.warp())];
    }

    const Grid& grid_;
    simt::Dim3 index_;
    Sites sites_;
    Clocks clocks_;
    SharedMemory shared_{clocks_};
    const SharedRegion* dynamic_shared_;
    Counters counters_;
    std::vector<Thread> threads_;
    std::vector<Warp> warps_;
    std::array<Barrier, simt::block_barriers> barriers_;
    int unfinished_ = 0;
    int last_run_ = -1;
    bool cancelling_ = false;
    std::exception_ptr failure_;
    std::mt19937_64 random_;
};

/// Runs all blocks, then adds the counters to the current session.
void run_grid(const Grid& grid);

}  // namespace isoflop::emulator
