#include "comm/nccl_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "isoflop/base/stop.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {
namespace {

using Clock = std::chrono::steady_clock;

/// Pause between exchanges of states.
constexpr std::chrono::milliseconds kPause{20};

/// States of a rank, as values that control exchanges.
constexpr double kConnecting = 0;
constexpr double kConnected = 1;
constexpr double kFailed = 2;
constexpr double kTimedOut = 3;
constexpr double kStopping = 4;

/// Shared by the waiting thread and the one that calls NCCL; the last of them ends it.
struct Call {
    NcclLibraries libraries;
    std::mutex mutex;  ///< guards the members below
    std::condition_variable returned;
    double state = kConnecting;
    bool abandoned = false;
    NcclComm comm = nullptr;
    std::exception_ptr error;
};

void call_nccl(const std::shared_ptr<Call>& call, int device, int size, const NcclUniqueId& id,
               int rank) {
    NcclComm comm = nullptr;
    std::exception_ptr error;
    try {
        const NcclLibraries& libraries = call->libraries;
        libraries.check_cuda(libraries.cuda.set_device(device), "cudaSetDevice");
        libraries.check_nccl(libraries.nccl.comm_init_rank(&comm, size, id, rank),
                             "ncclCommInitRank");
    } catch (const std::exception&) {
        error = std::current_exception();
    }
    const std::lock_guard lock(call->mutex);
    if (call->abandoned) {
        if (comm != nullptr) (void)call->libraries.nccl.comm_abort(comm);
        return;
    }
    call->comm = comm;
    call->error = error;
    call->state = error ? kFailed : kConnected;
    call->returned.notify_all();
}

/// The state of this rank, after a pause unless the call has returned.
double state_of(Call& call, Clock::time_point deadline) {
    std::unique_lock lock(call.mutex);
    call.returned.wait_for(lock, kPause, [&] { return call.state != kConnecting; });
    if (stop_requested()) return kStopping;
    if (call.state == kConnecting && Clock::now() >= deadline) return kTimedOut;
    return call.state;
}

/// Every rank has received the states before one of them ends the communication.
void wait_for_readers(Communicator& control) {
    const std::array<double, 1> nothing{};
    try {
        (void)control.gather_values(nothing);
    } catch (const LostRank&) {
        // It has received them, or has failed by itself.
    }
}

/// Returns when all ranks are connected.
void wait_for_all(Call& call, Communicator& control, std::chrono::milliseconds timeout) {
    const Clock::time_point deadline = Clock::now() + timeout;
    while (true) {
        const std::array<double, 1> mine{state_of(call, deadline)};
        // All ranks see the same states, so they end together, for the same reason.
        const std::vector<double> states = control.gather_values(mine);
        const auto first = [&](double state) {
            return std::find(states.begin(), states.end(), state) - states.begin();
        };
        const auto is = [&](double state) { return first(state) < std::ssize(states); };
        if (std::all_of(states.begin(), states.end(),
                        [](double state) { return state == kConnected; })) {
            return;
        }
        if (std::all_of(states.begin(), states.end(),
                        [](double state) { return state <= kConnected; })) {
            continue;
        }
        wait_for_readers(control);
        if (mine[0] == kFailed) std::rethrow_exception(call.error);
        if (mine[0] == kStopping) throw_if_stopped("NCCL connects the ranks");
        if (is(kFailed)) {
            throw std::runtime_error(
                fmt::format("rank {} could not connect through NCCL", first(kFailed)));
        }
        if (is(kStopping)) {
            throw std::runtime_error(fmt::format("rank {} was asked to stop", first(kStopping)));
        }
        throw std::runtime_error(fmt::format(
            "NCCL did not connect the ranks in {:g} s (NCCL_DEBUG=INFO prints what it does)",
            std::chrono::duration<double>(timeout).count()));
    }
}

}  // namespace

NcclComm connect_through_nccl(const NcclLibraries& libraries, int device, const NcclUniqueId& id,
                              Communicator& control, std::chrono::milliseconds timeout) {
    const auto call = std::make_shared<Call>();
    call->libraries = libraries;
    std::thread thread([call, device, size = control.size(), id, rank = control.rank()] {
        call_nccl(call, device, size, id, rank);
    });
    try {
        wait_for_all(*call, control, timeout);
    } catch (...) {
        std::unique_lock lock(call->mutex);
        call->abandoned = true;
        const bool connecting = call->state == kConnecting;
        if (call->comm != nullptr) (void)libraries.nccl.comm_abort(call->comm);
        lock.unlock();
        if (connecting) {
            thread.detach();
        } else {
            thread.join();
        }
        throw;
    }
    thread.join();
    return call->comm;
}

}  // namespace isoflop::comm
