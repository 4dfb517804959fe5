// Messages by Gloo, and the detection of lost ranks, which Gloo leaves half done: a message that is
// half sent when its connection breaks is waited for until the timeout, and a timeout closes all
// connections, so that ranks then blame each other.
//
// So there is one more message between each pair of ranks, a last word (last_words.hpp), that every
// rank has waited for since the beginning in a thread of its own, and says before it closes.
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

#include "comm/last_words.hpp"
#include "comm/sigpipe.hpp"

namespace isoflop::comm {
namespace {

using Clock = std::chrono::steady_clock;
using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;
using std::chrono::milliseconds;

// Our own clock ends waits; Gloo's never should.
constexpr milliseconds kForever = std::chrono::hours(24 * 365);
// How long last words of others may take to arrive, and ours to leave.
constexpr milliseconds kLastWordsTime{500};
// Kernels move at most 2 GiB in a call.
constexpr std::size_t kLongestMessage = std::size_t{1} << 30U;
constexpr std::uint64_t kLastWordSlot = 0;  // the others number the messages from 1

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
        std::uint64_t sent = 0;       ///< messages; used by the exchanging thread
        std::uint64_t received = 0;   ///< the same
        LastWord incoming = kSilent;  ///< written by Gloo
        Buffer ear;
        std::thread listener;
    };
    struct Message {
        int peer;
        bool incoming;
        Buffer buffer;
    };

    void post(Message message, std::vector<Message>& messages);
    void wait_for(Message& message);
    [[noreturn]] void give_up(int waiting_for);
    void listen_to(int other);
    void watch_the_clock();
    void heard(int other, LastWord word);
    void end_waits(const std::vector<int>& peers);
    void end_all_waits();
    void say(LastWord word);
    void hang_up();
    void throw_if_doomed() const;

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

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable changed_;
    std::vector<Message>* under_way_ = nullptr;  ///< messages of the exchange in progress
    Clock::time_point started_;                  ///< that exchange
    bool doomed_ = false;                        ///< exchanges fail from now on
    bool spoken_ = false;
    bool hung_up_ = false;
    bool closing_ = false;  ///< the destructor has begun
    LastWords words_;
    std::optional<Lost> lost_;

    LastWord word_ = kSilent;
    Buffer mouth_;
    std::atomic<int> listeners_ = 0;  ///< that our last word is on the way to
    std::thread clock_;
};

GlooGroup::GlooGroup(std::shared_ptr<gloo::Context> context, std::vector<std::string> names,
                     milliseconds timeout)
    : context_(std::move(context)),
      timeout_(timeout),
      peers_(names.size()),
      words_(context_->rank, std::move(names), timeout) {
    const SigpipeBlocked guard;  // the threads inherit it
    mouth_ = context_->createUnboundBuffer(&word_, sizeof word_);
    for_each_peer([&](int other) {
        Peer& them = peer(other);
        them.ear = context_->createUnboundBuffer(&them.incoming, sizeof them.incoming);
    });
    for_each_peer([&](int other) {
        peer(other).listener = std::thread([this, other] { listen_to(other); });
    });
    clock_ = std::thread([this] { watch_the_clock(); });
}

GlooGroup::~GlooGroup() {
    const SigpipeBlocked guard;
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        changed_.notify_all();
    }
    say(kGoodbye);
    hang_up();
    clock_.join();
    for_each_peer([&](int other) {
        peer(other).ear->abortWaitRecv();
        peer(other).listener.join();
    });
}

void GlooGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives) {
    const SigpipeBlocked guard;
    std::vector<Message> messages;
    const auto leave = [&] {
        const std::lock_guard lock(mutex_);
        under_way_ = nullptr;
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
        // Gloo's buffers serve both directions and so are never const; a send only reads.
        for (const Outgoing& out : sends)
            add(out.to, const_cast<std::byte*>(out.bytes.data()), out.bytes.size(), false);
        current = -1;
        {
            const std::lock_guard lock(mutex_);
            throw_if_doomed();
            under_way_ = &messages;
            started_ = Clock::now();
        }
        for (Message& message : messages) {
            current = message.peer;
            wait_for(message);
        }
        leave();
    } catch (const std::exception&) {  // Gloo's own; what happened is known from the last words
        leave();
        give_up(current);
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
    // Ended by a last word. After a goodbye the message may have come before it, or never will.
    Clock::time_point started;
    {
        const std::lock_guard lock(mutex_);
        throw_if_doomed();
        started = std::exchange(started_, Clock::now() - timeout_ + kLastWordsTime);
    }
    if (!wait()) throw std::runtime_error("a rank is lost");
    const std::lock_guard lock(mutex_);
    started_ = started;
}

void GlooGroup::throw_if_doomed() const {
    if (doomed_) throw std::runtime_error("a rank is lost");
}

/// The exchange has failed: tells the others whom we were waiting for (-1: nobody yet), hears what
/// they say, and throws.
void GlooGroup::give_up(int waiting_for) {
    std::unique_lock lock(mutex_);
    doomed_ = true;
    // Whoever was told by others began to wait later than they: start from their suspect.
    const int suspect = words_.first_speaker() >= 0 ? words_.first_speaker() : waiting_for;
    if (waiting_for >= 0) {
        // A rank that died while we waited for another is what the others need to know.
        const int to_blame = words_.closed().value_or(waiting_for);
        words_.hear(rank(), to_blame);
        lock.unlock();
        say(to_blame);
        lock.lock();
    }
    if (suspect >= 0) {
        changed_.wait_for(lock, kLastWordsTime,
                          [&] { return lost_.has_value() || words_.is_certain(suspect); });
    }
    if (!lost_) lost_ = words_.verdict(suspect);
    const Lost lost = *lost_;
    lock.unlock();
    say(lost.rank >= 0 ? lost.rank : kEnded);
    hang_up();
    throw LostRank(lost.rank, lost.message);
}

void GlooGroup::listen_to(int other) {
    Peer& them = peer(other);
    LastWord word = kClosed;
    try {
        them.ear->recv(other, kLastWordSlot);
        if (!them.ear->waitRecv(kForever)) return;
        word = them.incoming;
    } catch (const std::exception&) {
        word = kClosed;
    }
    heard(other, word);
}

void GlooGroup::heard(int other, LastWord word) {
    const std::lock_guard lock(mutex_);
    if (hung_up_) return;  // that was ourselves
    words_.hear(other, word);
    if (word == kGoodbye) {
        end_waits({other});
    } else {
        doomed_ = true;
        end_all_waits();
    }
    changed_.notify_all();
}

/// Wakes the exchange in progress from messages with these peers. The mutex is held.
void GlooGroup::end_waits(const std::vector<int>& peers) {
    if (under_way_ == nullptr) return;
    for (const Message& message : *under_way_) {
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

/// Looks at the exchange in progress from time to time, which costs it nothing.
void GlooGroup::watch_the_clock() {
    const milliseconds tick = std::clamp(timeout_ / 8, milliseconds(1), milliseconds(250));
    std::unique_lock lock(mutex_);
    while (!closing_) {
        changed_.wait_for(lock, tick);
        if (under_way_ == nullptr || Clock::now() - started_ < timeout_) continue;
        doomed_ = true;
        end_all_waits();
    }
}

/// Only the first word counts.
void GlooGroup::say(LastWord word) {
    {
        const std::lock_guard lock(mutex_);
        if (spoken_) return;
        spoken_ = true;
        word_ = word;
    }
    for_each_peer([&](int other) {
        try {
            mouth_->send(other, kLastWordSlot);
            ++listeners_;
        } catch (const std::exception&) {
            // Nobody there to hear it.
        }
    });
}

void GlooGroup::hang_up() {
    {
        const std::lock_guard lock(mutex_);
        if (hung_up_) return;
        hung_up_ = true;
    }
    try {
        const Clock::time_point deadline = Clock::now() + kLastWordsTime;
        for (int i = 0; i < listeners_; ++i) {
            const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
            mouth_->waitSend(std::max(left, milliseconds(1)));
        }
    } catch (const std::exception&) {
        // Somebody is gone or hangs; the words that could be said are said.
    }
    try {
        // Gloo closes all connections when a wait times out. Its function to close them would also
        // take back what is still on its way.
        LastWord nothing = kSilent;
        context_->createUnboundBuffer(&nothing, sizeof nothing)->waitRecv(milliseconds(0));
    } catch (const std::exception&) {
        // As intended.
    }
}

void GlooGroup::abort() noexcept {
    const SigpipeBlocked guard;
    try {
        {
            const std::lock_guard lock(mutex_);
            if (!lost_) lost_ = Lost{-1, words_.name(rank()) + " has ended the communication"};
            doomed_ = true;
            end_all_waits();
            changed_.notify_all();
        }
        say(kEnded);
        hang_up();
    } catch (...) {
        // Out of memory, at worst: the others find out by the timeout.
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
