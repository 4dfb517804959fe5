// Messages over Gloo, and the detection of lost ranks, which Gloo does only in part: a rank waits
// for a message whose connection broke in the middle until the timeout, and a timeout closes all
// connections, so that several ranks then look lost.
//
// Every pair of ranks therefore exchanges one additional message, the final report
// (final_reports.hpp). A rank sends its report before it closes its connections, and one thread per
// peer waits for the report of that peer from the start.
#ifdef ISOFLOP_HAVE_GLOO

#include "comm/gloo_group.hpp"

#include <gloo/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "comm/final_reports.hpp"
#include "comm/sigpipe.hpp"

namespace isoflop::comm {
namespace {

using Clock = std::chrono::steady_clock;
using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;
using std::chrono::milliseconds;

// The timeout thread of this class ends waits; the timeout of Gloo must not.
constexpr milliseconds kForever = std::chrono::hours(24 * 365);
// Time limit for receiving the final reports of other ranks, and for sending the own one.
constexpr milliseconds kReportTimeout{500};
// Kernels move at most 2 GiB in a call.
constexpr std::size_t kLongestMessage = std::size_t{1} << 30U;
constexpr std::uint64_t kReportSlot = 0;  // messages of exchanges use slots from 1

class GlooGroup final : public PointToPoint {
public:
    GlooGroup(std::shared_ptr<gloo::Context> context, std::vector<std::string> names,
              milliseconds timeout);
    ~GlooGroup() override;
    GlooGroup(const GlooGroup&) = delete;
    GlooGroup& operator=(const GlooGroup&) = delete;

    [[nodiscard]] int rank() const override { return context_->rank; }
    [[nodiscard]] int size() const override { return context_->size; }
    void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives) override;
    void abort() noexcept override;

private:
    struct Peer {
        std::uint64_t sent = 0;            ///< number of messages; used by the exchanging thread
        std::uint64_t received = 0;        ///< the same
        FinalReport incoming = kNoReport;  ///< written by Gloo
        Buffer report_buffer;
        std::thread report_receiver;
    };
    struct Message {
        int peer;
        bool incoming;
        Buffer buffer;
    };

    void post(Message message, std::vector<Message>& messages);
    void wait_for(Message& message);
    [[noreturn]] void fail(int waiting_for);
    void receive_report(int other);
    void watch_timeout();
    void on_report(int other, FinalReport report);
    void end_waits(const std::vector<int>& peers);
    void end_all_waits();
    void send_report(FinalReport report);
    void close_connections();
    void throw_if_failed() const;

    template <class Action>
    void for_each_peer(const Action& action) {
        for (int other = 0; other < size(); ++other) {
            if (other != rank()) action(other);
        }
    }
    [[nodiscard]] Peer& peer(int other) { return peers_[static_cast<std::size_t>(other)]; }

    const std::shared_ptr<gloo::Context> context_;
    const milliseconds timeout_;
    std::vector<Peer> peers_;

    std::mutex mutex_;  ///< guards the members below
    std::condition_variable changed_;
    std::vector<Message>* exchange_in_progress_ = nullptr;
    Clock::time_point started_;  ///< start of the exchange in progress
    bool failed_ = false;        ///< all further exchanges fail
    bool report_sent_ = false;
    bool connections_closed_ = false;
    bool closing_ = false;  ///< the destructor has begun
    FinalReports reports_;
    std::optional<Lost> lost_;

    FinalReport own_report_ = kNoReport;
    Buffer report_buffer_;
    /// number of peers to which the own report is being sent
    std::atomic<int> report_recipients_ = 0;
    std::thread timeout_thread_;
};

GlooGroup::GlooGroup(std::shared_ptr<gloo::Context> context, std::vector<std::string> names,
                     milliseconds timeout)
    : context_(std::move(context)),
      timeout_(timeout),
      peers_(names.size()),
      reports_(context_->rank, std::move(names), timeout) {
    const SigpipeBlocked guard;  // the threads inherit it
    report_buffer_ = context_->createUnboundBuffer(&own_report_, sizeof own_report_);
    for_each_peer([&](int other) {
        Peer& them = peer(other);
        them.report_buffer = context_->createUnboundBuffer(&them.incoming, sizeof them.incoming);
    });
    for_each_peer([&](int other) {
        peer(other).report_receiver = std::thread([this, other] { receive_report(other); });
    });
    timeout_thread_ = std::thread([this] { watch_timeout(); });
}

GlooGroup::~GlooGroup() {
    const SigpipeBlocked guard;
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        changed_.notify_all();
    }
    send_report(kFinished);
    close_connections();
    timeout_thread_.join();
    for_each_peer([&](int other) {
        peer(other).report_buffer->abortWaitRecv();
        peer(other).report_receiver.join();
    });
}

void GlooGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives) {
    const SigpipeBlocked guard;
    std::vector<Message> messages;
    const auto leave = [&] {
        const std::lock_guard lock(mutex_);
        exchange_in_progress_ = nullptr;
    };
    int current = -1;
    try {
        const auto add = [&](int other, std::byte* data, std::size_t bytes, bool incoming) {
            current = other;
            for (std::size_t first = 0; first < bytes; first += kLongestMessage) {
                const std::size_t length = std::min(kLongestMessage, bytes - first);
                post({other, incoming, context_->createUnboundBuffer(data + first, length)},
                     messages);
            }
        };
        for (const Incoming& in : receives) add(in.from, in.bytes.data(), in.bytes.size(), true);
        // A buffer of Gloo serves both directions and is never const; a send only reads it.
        for (const Outgoing& out : sends)
            add(out.to, const_cast<std::byte*>(out.bytes.data()), out.bytes.size(), false);
        current = -1;
        {
            const std::lock_guard lock(mutex_);
            throw_if_failed();
            exchange_in_progress_ = &messages;
            started_ = Clock::now();
        }
        for (Message& message : messages) {
            current = message.peer;
            wait_for(message);
        }
        leave();
    } catch (const std::exception&) {  // an exception of Gloo; the final reports tell the cause
        leave();
        fail(current);
    }
}

void GlooGroup::post(Message message, std::vector<Message>& messages) {
    Peer& them = peer(message.peer);
    if (message.incoming)
        message.buffer->recv(message.peer, ++them.received);
    else
        message.buffer->send(message.peer, ++them.sent);
    messages.push_back(std::move(message));
}

void GlooGroup::wait_for(Message& message) {
    const auto wait = [&] {
        return message.incoming ? message.buffer->waitRecv(kForever)
                                : message.buffer->waitSend(kForever);
    };
    if (wait()) return;
    // A final report ended the wait. When the peer has finished, the message either arrived before
    // the report or will never arrive.
    Clock::time_point started;
    {
        const std::lock_guard lock(mutex_);
        throw_if_failed();
        started = std::exchange(started_, Clock::now() - timeout_ + kReportTimeout);
    }
    if (!wait()) throw std::runtime_error("a rank is lost");
    const std::lock_guard lock(mutex_);
    started_ = started;
}

void GlooGroup::throw_if_failed() const {
    if (failed_) throw std::runtime_error("a rank is lost");
}

/// Ends a failed exchange: sends the rank that this rank was waiting for (-1: none yet) to all
/// ranks, collects their reports, and throws LostRank.
void GlooGroup::fail(int waiting_for) {
    std::unique_lock lock(mutex_);
    failed_ = true;
    // A rank that received a report began to wait later than its sender: start from the suspect of
    // that report.
    const int suspect = reports_.first_failing() >= 0 ? reports_.first_failing() : waiting_for;
    if (waiting_for >= 0) {
        // A rank that died while this rank waited for another one is the cause that the other ranks
        // need.
        const int to_blame = reports_.closed_silently().value_or(waiting_for);
        reports_.record(rank(), to_blame);
        lock.unlock();
        send_report(to_blame);
        lock.lock();
    }
    if (suspect >= 0) {
        changed_.wait_for(lock, kReportTimeout,
                          [&] { return lost_.has_value() || reports_.is_certain(suspect); });
    }
    if (!lost_) lost_ = reports_.find_lost(suspect);
    const Lost lost = *lost_;
    lock.unlock();
    send_report(lost.rank >= 0 ? lost.rank : kAborted);
    close_connections();
    throw LostRank(lost.rank, lost.message);
}

void GlooGroup::receive_report(int other) {
    Peer& them = peer(other);
    FinalReport report = kConnectionClosed;
    try {
        them.report_buffer->recv(other, kReportSlot);
        if (!them.report_buffer->waitRecv(kForever)) return;
        report = them.incoming;
    } catch (const std::exception&) {
        report = kConnectionClosed;
    }
    on_report(other, report);
}

void GlooGroup::on_report(int other, FinalReport report) {
    const std::lock_guard lock(mutex_);
    if (connections_closed_) return;  // this rank closed the connections itself
    reports_.record(other, report);
    if (report == kFinished) {
        end_waits({other});
    } else {
        failed_ = true;
        end_all_waits();
    }
    changed_.notify_all();
}

/// Wakes the exchange in progress from messages with these peers. The caller holds the mutex.
void GlooGroup::end_waits(const std::vector<int>& peers) {
    if (exchange_in_progress_ == nullptr) return;
    for (const Message& message : *exchange_in_progress_) {
        if (std::find(peers.begin(), peers.end(), message.peer) == peers.end()) continue;
        message.buffer->abortWaitRecv();
        message.buffer->abortWaitSend();
    }
}

void GlooGroup::end_all_waits() {
    std::vector<int> all;
    for_each_peer([&](int other) { all.push_back(other); });
    end_waits(all);
}

/// Fails the exchange in progress after the timeout; checks it periodically.
void GlooGroup::watch_timeout() {
    const milliseconds tick = std::clamp(timeout_ / 8, milliseconds(1), milliseconds(250));
    std::unique_lock lock(mutex_);
    while (!closing_) {
        changed_.wait_for(lock, tick);
        if (exchange_in_progress_ == nullptr || Clock::now() - started_ < timeout_) continue;
        failed_ = true;
        end_all_waits();
    }
}

/// Sends the final report of this rank to all peers; later calls have no effect.
void GlooGroup::send_report(FinalReport report) {
    {
        const std::lock_guard lock(mutex_);
        if (report_sent_) return;
        report_sent_ = true;
        own_report_ = report;
    }
    for_each_peer([&](int other) {
        try {
            report_buffer_->send(other, kReportSlot);
            ++report_recipients_;
        } catch (const std::exception&) {
            // The peer is gone.
        }
    });
}

void GlooGroup::close_connections() {
    {
        const std::lock_guard lock(mutex_);
        if (connections_closed_) return;
        connections_closed_ = true;
    }
    try {
        const Clock::time_point deadline = Clock::now() + kReportTimeout;
        for (int i = 0; i < report_recipients_; ++i) {
            const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
            report_buffer_->waitSend(std::max(left, milliseconds(1)));
        }
    } catch (const std::exception&) {
        // A peer is gone or hangs; the reports to the other peers are sent.
    }
    try {
        // Gloo closes all connections when a wait times out. Its function to close them would also
        // cancel messages that are not yet delivered.
        FinalReport nothing = kNoReport;
        context_->createUnboundBuffer(&nothing, sizeof nothing)->waitRecv(milliseconds(0));
    } catch (const std::exception&) {
        // This exception is expected.
    }
}

void GlooGroup::abort() noexcept {
    const SigpipeBlocked guard;
    try {
        {
            const std::lock_guard lock(mutex_);
            if (!lost_) lost_ = Lost{-1, reports_.name(rank()) + " has ended the communication"};
            failed_ = true;
            end_all_waits();
            changed_.notify_all();
        }
        send_report(kAborted);
        close_connections();
    } catch (...) {
        // Out of memory at worst: the other ranks detect the loss by the timeout.
    }
}

}  // namespace

std::unique_ptr<PointToPoint> make_gloo_group(std::shared_ptr<gloo::Context> context,
                                              std::vector<std::string> names,
                                              std::chrono::milliseconds timeout) {
    return std::make_unique<GlooGroup>(std::move(context), std::move(names), timeout);
}

}  // namespace isoflop::comm

#endif  // ISOFLOP_HAVE_GLOO
