#include "comm/tcp_store.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "comm/hmac.hpp"
#include "comm/job_key.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

/// The server answers a get after its timeout; the client waits longer only for a server that does
/// not answer.
constexpr milliseconds kAnswerTime{5000};
constexpr milliseconds kConnectTime{2000};
constexpr milliseconds kRetryPause{50};
/// Name services of a cluster may know the name of a machine late, but a wrong name stays unknown.
constexpr milliseconds kUnknownNameTime{5000};

/// The connection ended or the deadline passed.
struct Broken {
    std::string reason;
};

std::string seconds_text(milliseconds duration) {
    return human_seconds(std::chrono::duration<double>(duration).count());
}

void send_all(const FileDescriptor& socket, std::string_view bytes, Deadline deadline) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            throw Broken{"it closed the connection"};
        } else if (!wait_for(socket, POLLOUT, deadline)) {
            throw Broken{"it does not take our bytes"};
        }
    }
}

StoreMessage receive_message(const FileDescriptor& socket, std::string& in, Deadline deadline,
                             MessageLimits limits = {}) {
    for (;;) {
        if (auto message = take_message(in, limits)) return *std::move(message);
        if (!wait_for(socket, POLLIN, deadline)) throw Broken{"it does not answer"};
        std::array<char, 65536> buffer{};
        const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (count > 0) {
            in.append(buffer.data(), static_cast<std::size_t>(count));
        } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            throw Broken{"it closed the connection"};
        }
    }
}

/// The store of another run answers. It may be the same run before its restart, which is about to
/// end.
struct Occupied {
    std::string message;
};

void throw_unless_ok(const StoreMessage& answer) {
    if (answer.kind == MessageKind::config_error) throw ConfigError(answer.value);
    if (answer.kind == MessageKind::lost_rank) {
        throw LostRank(static_cast<int>(answer.number), answer.value);
    }
    if (answer.kind == MessageKind::occupied) throw Occupied{answer.value};
    if (answer.kind != MessageKind::ok) throw BadMessage("not an answer");
}

ConfigError not_our_store(const std::string& endpoint) {
    return ConfigError(
        fmt::format("what answers at {} is not the store of this build of Isoflop; "
                    "start the same build on all ranks, on a port that no other "
                    "program has (MASTER_PORT)",
                    endpoint));
}

}  // namespace

TcpStore::TcpStore(const LaunchInfo& launch, const std::vector<Endpoint>& endpoints,
                   milliseconds timeout, std::unique_ptr<StoreServer> server,
                   std::string local_address)
    : server_(std::move(server)), timeout_(timeout), local_address_(std::move(local_address)) {
    join(launch, endpoints);
    if (local_address_.empty()) local_address_ = local_end(socket_).host();
}

TcpStore::~TcpStore() {
    try {
        send_all(socket_, encode({.kind = MessageKind::bye}), Clock::now() + kRetryPause);
    } catch (...) {
        // Rank 0 is gone already; no server receives the message.
    }
    socket_.close();
}

void TcpStore::introduce(const LaunchInfo& launch, const FileDescriptor& socket, std::string& in,
                         Deadline deadline) const {
    const JobKey key = JobKey::of(launch);
    const StoreMessage hello{.kind = MessageKind::hello,
                             .number = launch.rank,
                             .key = host_name(),
                             .value = fmt::format("{} {}", launch.world_size, make_nonce())};
    send_all(socket, encode(hello), deadline);
    const StoreMessage challenge = receive_message(socket, in, deadline, kStrangerLimits);
    if (challenge.kind != MessageKind::challenge ||
        challenge.value.size() != kNonceDigits + kProofDigits) {
        throw BadMessage("no challenge");
    }
    const std::string_view nonce = std::string_view(challenge.value).substr(0, kNonceDigits);
    const std::string_view proof = std::string_view(challenge.value).substr(kNonceDigits);
    if (!equal_in_constant_time(proof, proof_of_server(key, hello, nonce))) {
        throw Occupied{
            "it belongs to another job, or the ranks have different values of "
            "ISOFLOP_JOB_TOKEN; choose another port (MASTER_PORT) for this run, or "
            "give all ranks the same token"};
    }
    send_all(socket,
             encode({.kind = MessageKind::proof, .value = proof_of_client(key, hello, nonce)}),
             deadline);
    throw_unless_ok(receive_message(socket, in, deadline));
}

TcpStore::Outcome TcpStore::try_endpoint(const LaunchInfo& launch, const Endpoint& endpoint,
                                         Deadline deadline, std::string& error) {
    const Resolution resolution = resolve(endpoint.host, endpoint.port);
    if (resolution.addresses.empty()) {
        error = fmt::format("'{}': {}", endpoint.host, resolution.error);
        return resolution.unknown ? Outcome::unknown_name : Outcome::failed;
    }
    Outcome outcome = Outcome::failed;
    for (const SocketAddress& address : resolution.addresses) {
        const Deadline attempt = std::min(deadline, Clock::now() + kConnectTime);
        FileDescriptor socket = connect_to(address, attempt, error);
        if (!socket.is_open()) continue;
        std::string in;
        try {
            introduce(launch, socket, in, deadline);
        } catch (const Broken& broken) {
            error = broken.reason;
            continue;
        } catch (const Occupied& occupied) {
            error = fmt::format("{}: {}", endpoint.text(), occupied.message);
            outcome = Outcome::occupied;
            continue;
        } catch (const BadMessage&) {
            throw not_our_store(endpoint.text());
        }
        socket_ = std::move(socket);
        in_ = std::move(in);
        endpoint_ = endpoint.text();
        return Outcome::joined;
    }
    return outcome;
}

void TcpStore::join(const LaunchInfo& launch, const std::vector<Endpoint>& endpoints) {
    const Deadline start = Clock::now();
    const Deadline deadline = start + timeout_;
    std::string error;
    std::string occupied;
    for (;;) {
        bool all_unknown = true;
        bool is_occupied = false;
        for (const Endpoint& endpoint : endpoints) {
            const Outcome outcome = try_endpoint(launch, endpoint, deadline, error);
            if (outcome == Outcome::joined) return;
            all_unknown = all_unknown && outcome == Outcome::unknown_name;
            is_occupied = is_occupied || outcome == Outcome::occupied;
        }
        // An attempt that the deadline ended has no new information.
        if (is_occupied || Clock::now() < deadline) occupied = is_occupied ? error : "";
        const milliseconds unknown_time = std::min(timeout_ / 2, kUnknownNameTime);
        if (all_unknown && Clock::now() >= start + unknown_time) {
            throw ConfigError(fmt::format(
                "rank {} cannot find the machine of rank 0 by the name {}; MASTER_ADDR must be its "
                "host name or address",
                launch.rank, error));
        }
        if (Clock::now() >= deadline) break;
        throw_if_stopped("waiting for rank 0");
        std::this_thread::sleep_for(kRetryPause);
    }
    if (!occupied.empty()) throw ConfigError(occupied);
    std::string names;
    for (const Endpoint& endpoint : endpoints) {
        names += (names.empty() ? "" : " or ") + endpoint.text();
    }
    throw LostRank(0,
                   fmt::format("rank {} on {} could not reach rank 0 at {} in {} ({}); is rank 0 "
                               "running, and is this its address (MASTER_ADDR, MASTER_PORT) and "
                               "the port open?",
                               launch.rank, host_name(), names, seconds_text(timeout_), error));
}

StoreMessage TcpStore::ask(const StoreMessage& request, Deadline deadline) {
    const std::lock_guard lock(mutex_);
    try {
        send_all(socket_, encode(request), deadline);
        StoreMessage answer = receive_message(socket_, in_, deadline);
        throw_unless_ok(answer);
        return answer;
    } catch (const Broken& broken) {
        socket_.close();  // a late answer would be taken for the answer to the next request
        throw LostRank(
            0, fmt::format("lost rank 0 at {}: {} ('{}')", endpoint_, broken.reason, request.key));
    } catch (const BadMessage&) {
        socket_.close();
        throw not_our_store(endpoint_);
    }
}

void TcpStore::set(std::string_view key, std::string_view value) {
    ask({.kind = MessageKind::set, .key = std::string(key), .value = std::string(value)}, soon());
}

std::string TcpStore::get(std::string_view key) {
    return ask({.kind = MessageKind::get, .number = timeout_.count(), .key = std::string(key)},
               soon() + kAnswerTime)
        .value;
}

std::int64_t TcpStore::add(std::string_view key, std::int64_t amount) {
    return ask({.kind = MessageKind::add, .number = amount, .key = std::string(key)}, soon())
        .number;
}

}  // namespace isoflop::comm
