// Supervises collectives that run on a GPU, for which no host thread waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "comm/nccl_link.hpp"

namespace isoflop::comm {

class NcclOperation final : public Pending::Operation {
public:
    /// `name`: for messages, "all_reduce number 12".
    NcclOperation(std::shared_ptr<NcclLink> link, std::string name)
        : link_(std::move(link)),
          name_(std::move(name)),
          ready_(link_->libraries),
          done_(link_->libraries) {}

    /// call(comm, stream) is the NCCL function `function`.
    template <class Call>
    void enqueue(const char* function, const Call& call) const {
        link_->enqueue(ready_, done_, function, call);
    }

    /// Only the first call adds a wait to the stream of the computation.
    void wait() override;
    [[nodiscard]] bool done() const override { return done_.reached(); }
    /// The computation on this rank has reached the point where the operation can begin.
    [[nodiscard]] bool ready() const { return ready_.reached(); }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    const std::shared_ptr<NcclLink> link_;
    const std::string name_;
    const NcclEvent ready_;
    const NcclEvent done_;
    std::atomic<bool> waited_ = false;
};

/// Ends the link when NCCL reports an error, or when an operation that could run is not done within
/// the timeout.
class NcclWatchdog {
public:
    explicit NcclWatchdog(NcclLink& link);
    ~NcclWatchdog();
    NcclWatchdog(const NcclWatchdog&) = delete;
    NcclWatchdog& operator=(const NcclWatchdog&) = delete;

    void watch(std::shared_ptr<const NcclOperation> operation);
    /// Stops; true when every operation is done.
    bool stop();

private:
    using Clock = std::chrono::steady_clock;

    void run();
    void look();
    void forget_finished();

    NcclLink& link_;
    std::mutex mutex_;  ///< guards the members below
    std::condition_variable wake_;
    bool stopping_ = false;
    std::deque<std::shared_ptr<const NcclOperation>> under_way_;
    std::optional<Clock::time_point> running_since_;  ///< when the first of them was seen to run

    std::thread thread_;  ///< last: it uses all of the above
};

}  // namespace isoflop::comm
