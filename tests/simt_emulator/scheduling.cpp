// Who runs next, and what to say when nobody can.
#include <bit>

#include "simt_emulator/block.hpp"

namespace isoflop::emulator {
namespace {

/// The first ready lane from `first` on, or -1.
int next_lane(std::uint32_t ready, int first) {
    if (first >= simt::warp_lanes) return -1;
    const std::uint32_t later = ready >> static_cast<unsigned>(first);
    return later == 0 ? -1 : first + std::countr_zero(later);
}

}  // namespace

int Block::next_thread() {
    if (grid_.options.order == Order::random) return last_run_ = next_random();
    const int warps = static_cast<int>(warps_.size());
    const int last_warp = last_run_ < 0 ? 0 : last_run_ / simt::warp_lanes;
    const int last_lane = last_run_ < 0 ? -1 : last_run_ % simt::warp_lanes;
    // Lanes after the last one in its warp; greedy then begins this warp again, lockstep goes on to
    // the next.
    const std::uint32_t ready = warps_[static_cast<std::size_t>(last_warp)].ready;
    int lane = next_lane(ready, last_lane + 1);
    if (lane < 0 && grid_.options.order == Order::warp_greedy) lane = next_lane(ready, 0);
    if (lane >= 0) return last_run_ = last_warp * simt::warp_lanes + lane;
    for (int step = 1; step <= warps; ++step) {
        const int warp = (last_warp + step) % warps;
        lane = next_lane(warps_[static_cast<std::size_t>(warp)].ready, 0);
        if (lane >= 0) return last_run_ = warp * simt::warp_lanes + lane;
    }
    return -1;
}

int Block::next_random() {
    const std::size_t first = random_() % warps_.size();
    for (std::size_t step = 0; step < warps_.size(); ++step) {
        const std::size_t warp = (first + step) % warps_.size();
        const std::uint32_t ready = warps_[warp].ready;
        if (ready == 0) continue;
        int lane = next_lane(ready, static_cast<int>(random_() % simt::warp_lanes));
        if (lane < 0) lane = next_lane(ready, 0);
        return static_cast<int>(warp) * simt::warp_lanes + lane;
    }
    return -1;
}

std::string Block::whereabouts(const Thread& thread) const {
    switch (thread.state) {
        case Thread::State::finished: return "has left the kernel";
        case Thread::State::ready: return "is elsewhere";
        case Thread::State::at_barrier:
            return "waits at barrier " + std::to_string(thread.barrier) + ", " +
                   sites_.text(thread.site);
        case Thread::State::in_collective: {
            const Rendezvous* meeting = warps_[static_cast<std::size_t>(thread.warp())]
                                            .waiting[static_cast<std::size_t>(thread.lane())];
            return std::string("waits in ") + meeting->name + ", " + sites_.text(thread.site);
        }
    }
    return "";
}

/// A lane that waits in a collective for another that waits for something else.
void Block::report_absent(int warp, int lane) const {
    const auto& waiting = warps_[static_cast<std::size_t>(warp)].waiting;
    const Rendezvous& meeting = *waiting[static_cast<std::size_t>(lane)];
    const Thread& thread = threads_[static_cast<std::size_t>(warp * simt::warp_lanes + lane)];
    for (int other = 0; other < simt::warp_lanes; ++other) {
        const bool expected = (meeting.mask >> static_cast<unsigned>(other) & 1U) != 0;
        if (!expected || waiting[static_cast<std::size_t>(other)] != nullptr) continue;
        const Thread& absent = threads_[static_cast<std::size_t>(warp * simt::warp_lanes + other)];
        fault(FaultKind::absent_lanes, thread, meeting.site,
              std::string(meeting.name) + " waits for " + describe(absent) + ", which " +
                  whereabouts(absent));
    }
}

void Block::report_deadlock() const {
    for (const Thread& thread : threads_) {
        if (thread.state == Thread::State::in_collective) {
            report_absent(thread.warp(), thread.lane());
        }
    }
    for (const Thread& thread : threads_) {
        if (thread.state != Thread::State::at_barrier) continue;
        const Barrier& barrier = barriers_[static_cast<std::size_t>(thread.barrier)];
        std::string what = "barrier " + std::to_string(thread.barrier) + " waits for " +
                           std::to_string(barrier.expected) + " threads, and only " +
                           std::to_string(barrier.arrived.size()) + " come";
        for (const Thread& other : threads_) {
            const bool here =
                other.state == Thread::State::at_barrier && other.barrier == thread.barrier;
            if (!here) {
                what += "; " + describe(other) + " " + whereabouts(other);
                break;
            }
        }
        fault(FaultKind::barrier_divergence, thread, thread.site, what);
    }
    throw KernelFault(FaultKind::barrier_divergence, "no thread can run");
}

}  // namespace isoflop::emulator
