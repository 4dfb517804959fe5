// Ranks as threads: messages are copied through inboxes under one mutex. Messages of a destroyed
// rank can still be read, as with a closed TCP connection.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stdexcept>

#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {
namespace {

using Message = std::vector<std::byte>;

struct Inbox {
    std::condition_variable changed;
    std::vector<std::deque<Message>> from;  ///< by sending rank
};

struct Group {
    Group(int size, double timeout_seconds)
        : timeout(timeout_seconds), inboxes(static_cast<std::size_t>(size)), gone(inboxes.size()) {
        for (Inbox& inbox : inboxes) inbox.from.resize(inboxes.size());
    }

    void wake_all() {
        for (Inbox& inbox : inboxes) inbox.changed.notify_all();
    }

    const std::chrono::duration<double> timeout;
    std::mutex mutex;  ///< guards the members below
    std::vector<Inbox> inboxes;
    std::vector<bool> gone;
    int aborted_by = -1;
};

std::string rank_text(int rank) {
    return "rank " + std::to_string(rank);
}

class LocalRank final : public PointToPoint {
public:
    LocalRank(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
    ~LocalRank() override {
        const std::lock_guard lock(group_->mutex);
        group_->gone[index(rank_)] = true;
        group_->wake_all();
    }
    LocalRank(const LocalRank&) = delete;
    LocalRank& operator=(const LocalRank&) = delete;

    [[nodiscard]] int rank() const override { return rank_; }
    [[nodiscard]] int size() const override { return static_cast<int>(group_->inboxes.size()); }

    void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives) override {
        const auto deadline = std::chrono::steady_clock::now() + group_->timeout;
        for (const Outgoing& message : sends) send(message);
        for (const Incoming& message : receives) {
            const Message bytes = receive(message.from, deadline);
            if (bytes.size() != message.bytes.size())
                throw std::logic_error("ranks disagree about the length of a message");
            std::copy(bytes.begin(), bytes.end(), message.bytes.begin());
        }
    }

    void abort() noexcept override {
        const std::lock_guard lock(group_->mutex);
        if (group_->aborted_by < 0) group_->aborted_by = rank_;
        group_->wake_all();
    }

private:
    static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }

    void send(const Outgoing& message) {
        Message copy(message.bytes.begin(), message.bytes.end());
        const std::lock_guard lock(group_->mutex);
        throw_if_aborted();
        if (group_->gone[index(message.to)]) throw_gone(message.to);
        Inbox& inbox = group_->inboxes[index(message.to)];
        inbox.from[index(rank_)].push_back(std::move(copy));
        inbox.changed.notify_all();
    }

    template <class Deadline>
    Message receive(int from, Deadline deadline) {
        std::unique_lock lock(group_->mutex);
        Inbox& inbox = group_->inboxes[index(rank_)];
        std::deque<Message>& queue = inbox.from[index(from)];
        const bool in_time = inbox.changed.wait_until(lock, deadline, [&] {
            return !queue.empty() || group_->aborted_by >= 0 || group_->gone[index(from)];
        });
        throw_if_aborted();
        if (!in_time) {
            throw LostRank(from, rank_text(from) + " has sent nothing for " +
                                     std::to_string(group_->timeout.count()) + " s");
        }
        if (queue.empty()) throw_gone(from);
        Message message = std::move(queue.front());
        queue.pop_front();
        return message;
    }

    void throw_if_aborted() const {
        if (group_->aborted_by < 0) return;
        throw LostRank(group_->aborted_by == rank_ ? -1 : group_->aborted_by,
                       rank_text(group_->aborted_by) + " ended the communication");
    }
    [[noreturn]] static void throw_gone(int rank) {
        throw LostRank(rank, rank_text(rank) + " is gone");
    }

    std::shared_ptr<Group> group_;
    int rank_;
};

}  // namespace

std::vector<std::unique_ptr<PointToPoint>> make_local_group(int size, double timeout_seconds) {
    const auto group = std::make_shared<Group>(size, timeout_seconds);
    std::vector<std::unique_ptr<PointToPoint>> ranks;
    ranks.reserve(static_cast<std::size_t>(size));
    for (int rank = 0; rank < size; ++rank)
        ranks.push_back(std::make_unique<LocalRank>(group, rank));
    return ranks;
}

}  // namespace isoflop::comm
