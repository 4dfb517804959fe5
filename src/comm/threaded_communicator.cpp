// A queue of operations and the thread that runs them.
//
// Errors are stored as values, and each waiting thread throws a new exception: one exception object
// would be shared by several threads.
#include "isoflop/comm/threaded_communicator.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "comm/collectives.hpp"

namespace isoflop::comm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Failure {
    int rank = -1;
    std::string message;
};

struct Ledger {
    std::mutex mutex;
    CommunicationTotals totals;
};

/// Runs on the communication thread; returns the bytes sent.
using Operation = std::function<std::uint64_t(PointToPoint&, std::span<std::byte> staging)>;

std::span<std::byte> bytes_of(const TensorView& tensor) {
    return {static_cast<std::byte*>(tensor.data()), tensor.bytes()};
}

SumTensor sum_tensor(const TensorView& tensor, int size) {
    require_equal_parts(tensor.size(), size);
    SumTensor result{.data = static_cast<std::byte*>(tensor.data()),
                     .elements = static_cast<std::uint64_t>(tensor.size())};
    switch (tensor.dtype()) {
        case DType::float32: result.type = SumType::float32; break;
        case DType::float64: result.type = SumType::float64; break;
        case DType::bfloat16: result.type = SumType::bfloat16; break;
        default:
            throw std::invalid_argument("collective: no sums of " +
                                        std::string(short_name(tensor.dtype())));
    }
    return result;
}

class QueuedOperation final : public Pending::Operation {
public:
    explicit QueuedOperation(std::shared_ptr<Ledger> ledger) : ledger_(std::move(ledger)) {}

    void finish(std::optional<Failure> how) {
        const std::lock_guard lock(mutex_);
        failure_ = std::move(how);
        done_ = true;
        changed_.notify_all();
    }

    void wait() override {
        const Clock::time_point start = Clock::now();
        std::unique_lock lock(mutex_);
        if (!done_) {
            changed_.wait(lock, [&] { return done_; });
            const std::lock_guard ledger_lock(ledger_->mutex);
            ledger_->totals.exposed_seconds += seconds_since(start);
        }
        if (failure_) throw LostRank(failure_->rank, failure_->message);
    }

    [[nodiscard]] bool done() const override {
        const std::lock_guard lock(mutex_);
        return done_;
    }

private:
    const std::shared_ptr<Ledger> ledger_;  ///< outlives the communicator, as an operation may
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::optional<Failure> failure_;
};

}  // namespace

class ThreadedCommunicator::Worker {
public:
    Worker(std::unique_ptr<PointToPoint> transport, std::span<std::byte> staging)
        : rank(transport->rank()),
          size(transport->size()),
          transport_(std::move(transport)),
          staging_(staging),
          thread_([this] { run(); }) {}

    ~Worker() {
        bool unfinished = false;
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            unfinished = busy_ || !queue_.empty();
            wake_.notify_all();
        }
        if (unfinished) abort("the communicator was destroyed before its operations were done");
        thread_.join();
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    Pending start(CollectiveKind kind, Operation operation) {
        auto state = std::make_shared<QueuedOperation>(ledger_);
        const std::lock_guard lock(mutex_);
        queue_.push_back({kind, std::move(operation), state});
        wake_.notify_all();
        return Pending(std::move(state));
    }

    void abort(const char* reason) noexcept {
        {
            const std::lock_guard lock(mutex_);
            if (!failure_) failure_ = Failure{.rank = -1, .message = reason};
        }
        transport_->abort();
    }

    [[nodiscard]] CommunicationTotals totals() const {
        const std::lock_guard lock(ledger_->mutex);
        return ledger_->totals;
    }

    const int rank;
    const int size;

private:
    struct Job {
        CollectiveKind kind;
        Operation operation;
        std::shared_ptr<QueuedOperation> state;
    };

    void run() {
        while (std::optional<Job> job = next_job()) {
            const Clock::time_point start = Clock::now();
            std::optional<Failure> failure = known_failure();
            std::uint64_t sent = 0;
            if (!failure) failure = attempt(job->operation, sent);
            record(job->kind, sent, seconds_since(start));
            {
                const std::lock_guard lock(mutex_);
                busy_ = false;
            }
            job->state->finish(std::move(failure));
        }
    }

    /// Waits for an operation; empty when the communicator is destroyed.
    std::optional<Job> next_job() {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return std::nullopt;
        Job job = std::move(queue_.front());
        queue_.pop_front();
        busy_ = true;
        return job;
    }

    std::optional<Failure> known_failure() {
        const std::lock_guard lock(mutex_);
        return failure_;
    }

    std::optional<Failure> attempt(const Operation& operation, std::uint64_t& sent) {
        Failure failure;
        try {
            sent = operation(*transport_, staging_);
            return std::nullopt;
        } catch (const LostRank& error) {
            failure = {.rank = error.rank(), .message = error.what()};
        } catch (const std::exception& error) {
            failure = {.rank = -1, .message = error.what()};
        }
        {
            // The call that aborted has given the reason already.
            const std::lock_guard lock(mutex_);
            if (!failure_) failure_ = failure;
            failure = *failure_;
        }
        transport_->abort();  // other ranks need not wait for this rank
        return failure;
    }

    void record(CollectiveKind kind, std::uint64_t sent, double seconds) {
        const std::lock_guard lock(ledger_->mutex);
        CommunicationTotals& totals = ledger_->totals;
        totals.bytes_sent.at(static_cast<std::size_t>(kind)) += sent;
        ++totals.calls.at(static_cast<std::size_t>(kind));
        totals.seconds += seconds;
    }

    const std::unique_ptr<PointToPoint> transport_;
    const std::span<std::byte> staging_;
    const std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>();

    std::mutex mutex_;  ///< guards the members below
    std::condition_variable wake_;
    std::deque<Job> queue_;
    bool busy_ = false;
    bool stopping_ = false;
    std::optional<Failure> failure_;  ///< the first one

    std::thread thread_;  ///< last: it uses all of the above
};

ThreadedCommunicator::ThreadedCommunicator(std::unique_ptr<PointToPoint> transport,
                                           std::span<std::byte> staging) {
    const std::uint64_t needed =
        transport->size() == 1 ? 0 : smallest_staging_bytes(transport->size());
    if (staging.size() < needed) {
        throw std::invalid_argument("communicator: staging of " + std::to_string(staging.size()) +
                                    " bytes; at least " + std::to_string(needed) + " are needed");
    }
    worker_ = std::make_unique<Worker>(std::move(transport), staging);
}

ThreadedCommunicator::~ThreadedCommunicator() = default;

int ThreadedCommunicator::rank() const {
    return worker_->rank;
}
int ThreadedCommunicator::size() const {
    return worker_->size;
}

std::uint64_t ThreadedCommunicator::staging_bytes(std::uint64_t largest_bytes, int size) {
    return comm::staging_bytes(largest_bytes, size);
}

Pending ThreadedCommunicator::all_reduce(const TensorView& tensor) {
    return worker_->start(
        CollectiveKind::all_reduce,
        [sum = sum_tensor(tensor, size())](PointToPoint& transport, std::span<std::byte> staging) {
            return comm::all_reduce(transport, sum, staging);
        });
}

Pending ThreadedCommunicator::reduce_scatter(const TensorView& tensor) {
    return worker_->start(
        CollectiveKind::reduce_scatter,
        [sum = sum_tensor(tensor, size())](PointToPoint& transport, std::span<std::byte> staging) {
            return comm::reduce_scatter(transport, sum, staging);
        });
}

Pending ThreadedCommunicator::all_gather(const TensorView& tensor) {
    require_equal_parts(tensor.size(), size());
    return worker_->start(CollectiveKind::all_gather,
                          [bytes = bytes_of(tensor)](PointToPoint& transport, auto) {
                              return comm::all_gather(transport, bytes);
                          });
}

std::vector<double> ThreadedCommunicator::gather_values(std::span<const double> values) {
    std::vector<double> all(values.size() * static_cast<std::size_t>(size()));
    std::copy(values.begin(), values.end(),
              all.begin() + static_cast<std::ptrdiff_t>(values.size()) * rank());
    worker_
        ->start(CollectiveKind::values,
                [bytes = std::as_writable_bytes(std::span(all))](PointToPoint& transport, auto) {
                    return comm::all_gather(transport, bytes);
                })
        .wait();
    return all;
}

void ThreadedCommunicator::abort() noexcept {
    worker_->abort("the communication was aborted");
}

CommunicationTotals ThreadedCommunicator::totals() const {
    return worker_->totals();
}

}  // namespace isoflop::comm
