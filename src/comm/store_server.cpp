#include "comm/store_server.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <list>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "comm/hmac.hpp"
#include "comm/socket.hpp"
#include "comm/store_message.hpp"
#include "comm/store_state.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

/// Time limit for the hello and the proof of a peer.
constexpr milliseconds kHelloTime{10'000};
/// Connections beyond the ranks that may be open: foreign clients, and ranks of another run.
constexpr int kSpareConnections = 64;
/// Connections accepted before the others are served again.
constexpr int kAcceptedAtOnce = 32;
constexpr int kNoRank = -1;

struct Connection {
    FileDescriptor socket;
    std::string in = {};
    std::string out = {};
    std::optional<StoreMessage> hello = {};  ///< of a client that is to prove itself
    std::string expected_proof = {};
    int rank = kNoRank;
    bool said_bye = false;
    bool closing = false;                  ///< after `out` has been sent
    std::optional<StoreMessage> get = {};  ///< a waiting get
    Deadline deadline = Deadline::max();   ///< of the hello or the get
};

bool would_block(int code) {
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

/// Sends what the socket takes; false when the connection has ended.
bool flush(Connection& connection) {
    while (!connection.out.empty()) {
        const ssize_t sent = ::send(connection.socket.get(), connection.out.data(),
                                    connection.out.size(), MSG_NOSIGNAL);
        if (sent < 0) return would_block(errno);
        connection.out.erase(0, static_cast<std::size_t>(sent));
    }
    return true;
}

/// Reads what has come, up to one buffer; false when the connection has ended.
bool receive(Connection& connection) {
    std::array<char, 65536> buffer{};
    const ssize_t count = ::recv(connection.socket.get(), buffer.data(), buffer.size(), 0);
    if (count == 0) return false;
    if (count < 0) return would_block(errno);
    connection.in.append(buffer.data(), static_cast<std::size_t>(count));
    return true;
}

}  // namespace

class StoreServer::Thread {
public:
    Thread(FileDescriptor listener, int world_size, std::string endpoint, JobKey key,
           milliseconds timeout)
        : listener_(std::move(listener)),
          key_(std::move(key)),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          most_connections_(world_size + kSpareConnections),
          linger_(std::min(timeout, milliseconds(5000))),
          state_(world_size, std::move(endpoint)) {
        if (!wake_.is_open()) throw std::system_error(errno, std::generic_category(), "eventfd");
        thread_ = std::thread([this] { run(); });
    }
    ~Thread() {
        stop_ = true;
        (void)::eventfd_write(wake_.get(), 1);
        thread_.join();
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

private:
    void run() {
        while (!finished()) {
            wait();
            for (auto entry = connections_.begin(); entry != connections_.end();) {
                const auto current = entry++;
                if (!serve(*current)) drop(current);
            }
            spread_failure();
            for (auto entry = connections_.begin(); entry != connections_.end();) {
                const auto current = entry++;
                if (!flush(*current) || (current->closing && current->out.empty())) drop(current);
            }
            accept_all();
        }
    }

    /// Polls all sockets; the results are not kept, as serving a socket without data is cheap.
    void wait() {
        std::vector<pollfd> entries{{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
        entries.push_back({.fd = listener_.get(), .events = POLLIN, .revents = 0});
        Deadline deadline = stopping_ ? stop_deadline_ : Deadline::max();
        for (const Connection& connection : connections_) {
            const short events =
                static_cast<short>(POLLIN | (connection.out.empty() ? 0 : POLLOUT));
            entries.push_back({.fd = connection.socket.get(), .events = events, .revents = 0});
            deadline = std::min(deadline, connection.deadline);
        }
        const int timeout = deadline == Deadline::max() ? -1 : poll_milliseconds(deadline);
        (void)::poll(entries.data(), entries.size(), timeout);
        eventfd_t count = 0;
        (void)::eventfd_read(wake_.get(), &count);
        if (stop_ && !stopping_) {
            stopping_ = true;
            stop_deadline_ = Clock::now() + linger_;
        }
    }

    /// A wrong configuration keeps the server running until all ranks have received the error.
    [[nodiscard]] bool finished() const {
        if (!stopping_) return false;
        if (Clock::now() >= stop_deadline_) return true;
        const auto unsent = [](const Connection& connection) { return !connection.out.empty(); };
        const bool flushed = std::none_of(connections_.begin(), connections_.end(), unsent);
        const bool wrong = state_.failure() && state_.failure()->kind == MessageKind::config_error;
        return flushed && (!wrong || state_.all_informed());
    }

    void accept_all() {
        for (int accepted = 0; accepted < kAcceptedAtOnce; ++accepted) {
            FileDescriptor socket(
                ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (!socket.is_open()) return;
            make_room();
            connections_.push_back(
                {.socket = std::move(socket), .deadline = Clock::now() + kHelloTime});
        }
    }

    /// Drops a stranger when there are too many: the oldest that has said nothing, or the oldest. A
    /// rank that is dropped before its proof tries again.
    void make_room() {
        if (static_cast<int>(connections_.size()) < most_connections_) return;
        const auto is_stranger = [](const Connection& connection) {
            return connection.rank == kNoRank;
        };
        const auto is_silent = [&](const Connection& connection) {
            return is_stranger(connection) && !connection.hello && connection.in.empty();
        };
        auto victim = std::find_if(connections_.begin(), connections_.end(), is_silent);
        if (victim == connections_.end()) {
            victim = std::find_if(connections_.begin(), connections_.end(), is_stranger);
        }
        if (victim != connections_.end()) connections_.erase(victim);
    }

    /// False when the connection has ended or does not use this protocol.
    bool serve(Connection& connection) {
        try {
            if (!receive(connection)) return false;
            while (!connection.closing && !connection.get) {
                const MessageLimits limits =
                    connection.rank == kNoRank ? kStrangerLimits : MessageLimits{};
                const auto message = take_message(connection.in, limits);
                if (!message) break;
                handle(connection, *message);
                // A client reads an answer before its next request; this one does not.
                if (connection.out.size() > 2 * std::size_t{kLargestValue}) return false;
            }
            if (connection.get && connection.in.size() > kLargestValue) return false;
        } catch (const BadMessage&) {
            return false;
        }
        if (Clock::now() < connection.deadline) return true;
        if (!connection.get) return false;  // never said hello
        state_.give_up(*connection.get);    // run() answers all waiting ranks
        return true;
    }

    void handle(Connection& connection, const StoreMessage& message) {
        if (message.kind == MessageKind::bye) {
            connection.said_bye = true;
            return;
        }
        if (connection.rank == kNoRank) {
            if (connection.hello) return admit(connection, message);
            return challenge(connection, message);
        }
        const bool sets = message.kind == MessageKind::set;
        if (const auto answer = state_.answer(message)) {
            reply(connection, *answer);
        } else {
            connection.get = message;
            const auto patience = std::clamp<std::int64_t>(message.number, 0, kLongestWait);
            connection.deadline = Clock::now() + milliseconds(patience);
        }
        if (sets) answer_waiting(message.key);
    }

    void challenge(Connection& connection, const StoreMessage& hello) const {
        if (hello.kind != MessageKind::hello) throw BadMessage("no hello");
        const std::string nonce = make_nonce();
        connection.hello = hello;
        connection.expected_proof = proof_of_client(key_, hello, nonce);
        connection.out += encode(
            {.kind = MessageKind::challenge, .value = nonce + proof_of_server(key_, hello, nonce)});
    }

    void admit(Connection& connection, const StoreMessage& proof) {
        if (proof.kind != MessageKind::proof ||
            !equal_in_constant_time(proof.value, connection.expected_proof)) {
            throw BadMessage("no proof");
        }
        const StoreMessage hello = *std::exchange(connection.hello, std::nullopt);
        const StoreMessage answer = state_.greet(hello);
        reply(connection, answer);
        connection.closing = answer.kind != MessageKind::ok;
        if (!connection.closing) {
            connection.rank = static_cast<int>(hello.number);
        } else if (state_.failure()) {
            state_.inform(static_cast<int>(hello.number));
        }
    }

    void answer_waiting(const std::string& key) {
        for (Connection& other : connections_) {
            if (!other.get || other.get->key != key) continue;
            if (const auto answer = state_.answer(*other.get)) reply(other, *answer);
        }
    }

    /// Answers all waiting ranks after a failure.
    void spread_failure() {
        if (!state_.failure()) return;
        for (Connection& connection : connections_) {
            if (connection.get) reply(connection, *state_.failure());
        }
    }

    void reply(Connection& connection, const StoreMessage& answer) {
        connection.out += encode(answer);
        connection.get.reset();
        connection.deadline = Deadline::max();
        if (answer.kind == MessageKind::config_error && connection.rank != kNoRank) {
            state_.inform(connection.rank);
        }
    }

    void drop(std::list<Connection>::iterator connection) {
        if (connection->rank != kNoRank) state_.leave(connection->rank, connection->said_bye);
        connections_.erase(connection);
        spread_failure();
    }

    static constexpr std::int64_t kLongestWait = 30LL * 24 * 3600 * 1000;

    FileDescriptor listener_;
    JobKey key_;
    FileDescriptor wake_;
    int most_connections_;
    milliseconds linger_;
    StoreState state_;
    std::list<Connection> connections_;
    bool stopping_ = false;
    Deadline stop_deadline_{};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

StoreServer::StoreServer(FileDescriptor listener, int world_size, std::string endpoint, JobKey key,
                         milliseconds timeout)
    : thread_(std::make_unique<Thread>(std::move(listener), world_size, std::move(endpoint),
                                       std::move(key), timeout)) {}
StoreServer::~StoreServer() = default;

}  // namespace isoflop::comm
