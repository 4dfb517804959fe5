// One rank's connection through NCCL, shared by its communicator, operations and watchdog.
//
// Order on the GPU. Computation and collectives have separate streams, so that both run at the same
// time. A collective begins after the work that the computation stream had received before it
// (event `ready`), and Pending::wait makes the computation stream continue after it (event `done`);
// the host never waits. On one communication stream collectives run in the order of calls.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/nccl_functions.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/comm/nccl.hpp"

namespace isoflop::comm {

/// A point in the work of a stream.
class NcclEvent {
public:
    explicit NcclEvent(const NcclLibraries& libraries);
    ~NcclEvent();
    NcclEvent(const NcclEvent&) = delete;
    NcclEvent& operator=(const NcclEvent&) = delete;

    void record(CudaStream stream) const;
    /// Work that the stream receives later runs after the event.
    void hold_back(CudaStream stream) const;
    [[nodiscard]] bool reached() const;

private:
    const NcclLibraries& libraries_;
    CudaEvent event_ = nullptr;
};

class NcclStream {
public:
    explicit NcclStream(const NcclLibraries& libraries);
    ~NcclStream();
    NcclStream(const NcclStream&) = delete;
    NcclStream& operator=(const NcclStream&) = delete;
    [[nodiscard]] CudaStream get() const { return stream_; }

private:
    const NcclLibraries& libraries_;
    CudaStream stream_ = nullptr;
};

class NcclLink {
public:
    /// Waits until every rank has called it.
    NcclLink(NcclLibraries libraries, const NcclOptions& options, const NcclUniqueId& id,
             std::unique_ptr<PointToPoint> control);
    ~NcclLink();
    NcclLink(const NcclLink&) = delete;
    NcclLink& operator=(const NcclLink&) = delete;

    /// Puts call(comm, stream) between the two events. Throws LostRank.
    template <class Call>
    void enqueue(const NcclEvent& ready, const NcclEvent& done, const char* name,
                 const Call& call) {
        attempt([&] {
            const std::lock_guard lock(calls_);
            throw_if_failed();  // the thread that aborted has taken the handle
            ready.record(options.compute_stream);
            ready.hold_back(stream_.get());
            libraries.check_nccl(call(comm_.load(), stream_.get()), name);
            done.record(stream_.get());
        });
    }

    /// Runs body(). Any exception of body() ends this link and is rethrown as LostRank.
    template <class Body>
    void attempt(const Body& body) {
        throw_if_failed();
        try {
            body();
        } catch (const LostRank& error) {
            fail(error.rank(), error.what());
        } catch (const Stopped& error) {
            fail(-1, error.what());
            throw;
        } catch (const std::exception& error) {
            fail(-1, error.what());
        }
        throw_if_failed();
    }

    /// Records the first failure, which every later call throws, and ends operations in progress.
    /// May be called from any thread.
    void fail(int rank, const std::string& message) noexcept;
    void throw_if_failed() const;
    /// Throws what NCCL found out since the last call.
    void throw_async_error();

    /// Ends all calls; operations may outlive the link.
    void close() noexcept;

    /// Until close().
    [[nodiscard]] Communicator& control() { return *control_; }
    /// What control sent and received to connect.
    [[nodiscard]] const CommunicationTotals& connection_totals() const {
        return connection_totals_;
    }

    const NcclLibraries libraries;
    const NcclOptions options;

private:
    struct Failure {
        int rank = -1;
        std::string message;
    };

    void abort_calls() noexcept;

    NcclStream stream_;
    std::vector<std::uint64_t> control_staging_;
    std::unique_ptr<Communicator> control_;
    CommunicationTotals connection_totals_;
    std::timed_mutex calls_;  ///< NCCL allows one thread at a time
    std::atomic<NcclComm> comm_ = nullptr;

    mutable std::mutex failure_mutex_;
    std::optional<Failure> failure_;
};

}  // namespace isoflop::comm
