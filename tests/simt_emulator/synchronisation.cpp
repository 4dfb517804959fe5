// Barriers of the block and meetings of the lanes of a warp.
#include <bit>
#include <string_view>

#include "simt_emulator/block.hpp"

namespace isoflop::emulator {
namespace {

constexpr std::uint32_t bit(int lane) {
    return 1U << static_cast<unsigned>(lane);
}

std::string hex(std::uint32_t mask) {
    std::string digits = "0x";
    for (int shift = 28; shift >= 0; shift -= 4) {
        digits += "0123456789abcdef"[mask >> static_cast<unsigned>(shift) & 0xFU];
    }
    return digits;
}

}  // namespace

Barrier& Block::join_barrier(Thread& thread, int number, int expected, Site site) {
    Barrier& barrier = barriers_[static_cast<std::size_t>(number)];
    const std::string name = "barrier " + std::to_string(number);
    if (barrier.expected == 0) {
        barrier.expected = expected;
        barrier.site = site;
    } else if (barrier.expected != expected) {
        fault(FaultKind::barrier_divergence, thread, site,
              name + " for " + std::to_string(expected) + " threads; others wait there for " +
                  std::to_string(barrier.expected) + ", " + sites_.text(barrier.site));
    }
    if (number == 0 && barrier.site != site) {
        fault(FaultKind::barrier_divergence, thread, site,
              "sync_threads, while " +
                  describe(threads_[static_cast<std::size_t>(barrier.arrived.front())]) +
                  " waits at another one, " + sites_.text(barrier.site));
    }
    if ((thread.arrived_at & bit(number)) != 0) {
        fault(FaultKind::barrier_divergence, thread, site,
              name + ", where this thread has arrived already and others are awaited");
    }
    thread.arrived_at |= bit(number);
    barrier.arrived.push_back(thread.number);
    return barrier;
}

void Block::complete_barrier(Barrier& barrier) {
    clocks_.synchronise(barrier.arrived, barrier.waiting);
    if (clocks_.last_full_barrier() + 1 == clocks_.now()) shared_.shadow().forget_readers();
    if (barrier.expected == static_cast<int>(threads_.size())) flush_requests();
    ++counters_.block_barriers;
    const auto number = static_cast<int>(&barrier - barriers_.data());
    for (const int arrived : barrier.arrived) {
        threads_[static_cast<std::size_t>(arrived)].arrived_at &= ~bit(number);
    }
    for (const int waiting : barrier.waiting) {
        set_ready(threads_[static_cast<std::size_t>(waiting)]);
    }
    barrier = {};
}

void Block::wait_at_barrier(Thread& thread, int number, int expected, Site site) {
    Barrier& barrier = join_barrier(thread, number, expected, site);
    barrier.waiting.push_back(thread.number);
    if (number == 0) {
        for (const Thread& other : threads_) {
            if (unfinished_ == static_cast<int>(threads_.size())) break;
            if (other.state == Thread::State::finished) {
                fault(FaultKind::barrier_divergence, thread, site,
                      "sync_threads, which " + describe(other) + " will not reach: it has left");
            }
        }
    }
    if (static_cast<int>(barrier.arrived.size()) == barrier.expected) {
        complete_barrier(barrier);
        return;
    }
    thread.state = Thread::State::at_barrier;
    thread.barrier = number;
    thread.site = site;
    suspend(thread);
}

void Block::arrive_at_barrier(Thread& thread, int number, int expected, Site site) {
    Barrier& barrier = join_barrier(thread, number, expected, site);
    if (static_cast<int>(barrier.arrived.size()) == barrier.expected) complete_barrier(barrier);
}

void Block::finish(Thread& thread) {
    thread.state = Thread::State::finished;
    Warp& warp = warp_of(thread);
    warp.ready &= ~bit(thread.lane());
    --unfinished_;
    for (const Rendezvous* meeting : warp.waiting) {
        if (meeting != nullptr && (meeting->mask & bit(thread.lane())) != 0) {
            fault(FaultKind::absent_lanes, thread, meeting->site,
                  std::string("leaves the kernel, while others of its warp wait for it in ") +
                      meeting->name);
        }
    }
    const Barrier& barrier = barriers_[0];
    if (!barrier.arrived.empty()) {
        const Thread& other = threads_[static_cast<std::size_t>(barrier.arrived.front())];
        fault(FaultKind::barrier_divergence, thread, barrier.site,
              "leaves the kernel without reaching sync_threads, where " + describe(other) +
                  " waits for it");
    }
}

void Block::check_meeting(const Thread& thread, const Rendezvous& mine) const {
    const Warp& warp = warps_[static_cast<std::size_t>(thread.warp())];
    const std::string what = std::string(mine.name) + " with mask " + hex(mine.mask);
    if ((mine.mask & bit(thread.lane())) == 0) {
        fault(FaultKind::absent_lanes, thread, mine.site, what + ", which leaves out this lane");
    }
    if ((mine.mask & ~warp.members) != 0) {
        fault(FaultKind::absent_lanes, thread, mine.site,
              what + ", but the block has lanes " + hex(warp.members) + " only in this warp");
    }
    for (int lane = 0; lane < simt::warp_lanes; ++lane) {
        const auto number = static_cast<std::size_t>(thread.warp() * simt::warp_lanes + lane);
        const Rendezvous* other = warp.waiting[static_cast<std::size_t>(lane)];
        const bool expected = (mine.mask & bit(lane)) != 0;
        if (expected && threads_[number].state == Thread::State::finished) {
            fault(FaultKind::absent_lanes, thread, mine.site,
                  what + " waits for " + describe(threads_[number]) + ", which has left");
        }
        if (other == nullptr || (!expected && (other->mask & bit(thread.lane())) == 0)) continue;
        if (other->site != mine.site || other->mask != mine.mask ||
            std::string_view(other->name) != mine.name) {
            fault(FaultKind::absent_lanes, thread, mine.site,
                  what + ", while " + describe(threads_[number]) + " waits in " + other->name +
                      " with mask " + hex(other->mask) + ", " + sites_.text(other->site));
        }
    }
}

void Block::meet(Thread& thread, Rendezvous& mine) {
    check_meeting(thread, mine);
    Warp& warp = warp_of(thread);
    warp.waiting[static_cast<std::size_t>(thread.lane())] = &mine;
    thread.site = mine.site;
    std::array<void*, 32> values{};
    for (std::uint32_t left = mine.mask; left != 0; left &= left - 1) {
        const auto lane = static_cast<std::size_t>(std::countr_zero(left));
        if (warp.waiting[lane] == nullptr) {
            thread.state = Thread::State::in_collective;
            suspend(thread);
            return;
        }
        values[lane] = warp.waiting[lane]->values;
    }
    for (std::uint32_t left = mine.mask; left != 0; left &= left - 1) {
        const int lane = std::countr_zero(left);
        warp.waiting[static_cast<std::size_t>(lane)] = nullptr;
        set_ready(threads_[static_cast<std::size_t>(thread.warp() * simt::warp_lanes + lane)]);
    }
    mine.execute(*this, mine.mask, values);
    if (mine.mask == warp.members && grid_.options.count) warp.log.flush(counters_);
}

void Block::order_lanes(int warp, std::uint32_t mask) {
    std::vector<int> lanes;
    for (std::uint32_t left = mask; left != 0; left &= left - 1) {
        lanes.push_back(warp * simt::warp_lanes + std::countr_zero(left));
    }
    clocks_.synchronise(lanes, lanes);
    if (clocks_.last_full_barrier() + 1 == clocks_.now()) shared_.shadow().forget_readers();
    ++counters_.warp_barriers;
}

}  // namespace isoflop::emulator
