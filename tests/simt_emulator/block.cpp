#include "simt_emulator/block.hpp"

#include <memory>

namespace isoflop::emulator {
namespace {

/// Ends a thread whose block has failed.
struct Cancelled {};

constinit thread_local Thread* running = nullptr;

/// Fibers of this host thread, kept from launch to launch.
std::vector<std::unique_ptr<Fiber>>& fibers() {
    thread_local std::vector<std::unique_ptr<Fiber>> pool;
    return pool;
}

int thread_count(const simt::Dim3& extent) {
    return extent.x * extent.y * extent.z;
}

std::string text(const simt::Dim3& index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
           std::to_string(index.z) + ")";
}

}  // namespace

Block::Block(const Grid& grid)
    : grid_(grid),
      dynamic_shared_(&shared_.declare(this, "dynamic shared memory", grid.dynamic_shared_bytes)),
      threads_(static_cast<std::size_t>(thread_count(grid.block_threads))),
      warps_((threads_.size() + simt::warp_lanes - 1) / simt::warp_lanes),
      random_(grid.options.seed) {
    while (fibers().size() < threads_.size()) fibers().push_back(std::make_unique<Fiber>());
    const simt::Dim3& extent = grid.block_threads;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        const int number = static_cast<int>(i);
        threads_[i].block = this;
        threads_[i].number = number;
        threads_[i].index = {number % extent.x, number / extent.x % extent.y,
                             number / extent.x / extent.y};
        threads_[i].fiber = fibers()[i].get();
        warp_of(threads_[i]).members |= 1U << static_cast<unsigned>(threads_[i].lane());
    }
}

Thread& Block::current_thread() {
    return *running;
}

void Block::run(const simt::Dim3& index) {
    index_ = index;
    start_threads();
    try {
        run_threads();
    } catch (...) {
        cancel_threads();
        throw;
    }
    flush_requests();
    if (const std::string* array = shared_.damaged()) {
        fault(FaultKind::out_of_bounds, threads_[0], 0,
              "some thread has overwritten the red zone next to " + *array);
    }
}

void Block::start_threads() {
    clocks_.start_block(static_cast<int>(threads_.size()));
    shared_.start_block(static_cast<int>(warps_.size()));
    for (Barrier& barrier : barriers_) barrier = {};
    for (Warp& warp : warps_) {
        warp.ready = warp.members;
        warp.waiting.fill(nullptr);
    }
    for (Thread& thread : threads_) {
        thread.state = Thread::State::ready;
        thread.arrived_at = 0;
        thread.copies.clear();
        thread.fiber->start(&Block::thread_body, &thread);
    }
    unfinished_ = static_cast<int>(threads_.size());
    last_run_ = -1;
    failure_ = nullptr;
}

void Block::thread_body(void* argument) {
    Thread& thread = *static_cast<Thread*>(argument);
    Block& block = *thread.block;
    if (block.cancelling_) return;
    try {
        block.grid_.body();
        block.finish(thread);
    } catch (const Cancelled&) {  // NOLINT(bugprone-empty-catch): that was its purpose
    } catch (...) {
        block.failure_ = std::current_exception();
    }
}

void Block::run_threads() {
    while (unfinished_ > 0) {
        const int next = next_thread();
        if (next < 0) report_deadlock();
        resume(threads_[static_cast<std::size_t>(next)]);
        if (failure_ != nullptr) std::rethrow_exception(failure_);
    }
}

void Block::cancel_threads() {
    cancelling_ = true;  // those that wait throw Cancelled, those not yet begun return
    for (Thread& thread : threads_) {
        if (!thread.fiber->finished()) resume(thread);
    }
    cancelling_ = false;
}

void Block::resume(Thread& thread) {
    Thread* const outer = running;
    running = &thread;
    thread.fiber->resume();
    running = outer;
}

void Block::suspend(Thread& thread) {
    warp_of(thread).ready &= ~(1U << static_cast<unsigned>(thread.lane()));
    thread.fiber->suspend();
    if (cancelling_) throw Cancelled{};
}

void Block::set_ready(Thread& thread) {
    thread.state = Thread::State::ready;
    warp_of(thread).ready |= 1U << static_cast<unsigned>(thread.lane());
}

void Block::flush_requests() {
    if (!grid_.options.count) return;
    for (Warp& warp : warps_) warp.log.flush(counters_);
}

std::string Block::describe(const Thread& thread) const {
    return "thread " + text(thread.index) + " (warp " + std::to_string(thread.warp()) + ", lane " +
           std::to_string(thread.lane()) + ")";
}

void Block::fault(FaultKind kind, const Thread& thread, Site site, const std::string& what) const {
    throw KernelFault(kind, "kernel " + grid_.kernel_name + ", block " + text(index_) + ", " +
                                describe(thread) + ", " + sites_.text(site) + ": " + what);
}

}  // namespace isoflop::emulator
