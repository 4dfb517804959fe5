// Opens the store: finds the address of rank 0, and starts the server on rank 0.
#include "isoflop/comm/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <vector>

#include "comm/job_key.hpp"
#include "comm/mpi_plugin.hpp"
#include "comm/socket.hpp"
#include "comm/store_server.hpp"
#include "comm/tcp_store.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

constexpr const char* kLoopback = "127.0.0.1";
/// A longer timeout is the same as no limit; sums of times still fit.
constexpr milliseconds kLongestTimeout{30LL * 24 * 3600 * 1000};

FileDescriptor listen_or_explain(std::optional<SocketAddress> address, const Endpoint& endpoint) {
    std::string error;
    FileDescriptor listener = listen_on(address, endpoint.port, error);
    if (listener.is_open()) return listener;
    throw ConfigError(
        fmt::format("rank 0 cannot listen on port {} ({}): {}; another program or run "
                    "may have the port: end it, or choose another port with "
                    "MASTER_PORT or --master-port",
                    endpoint.port, endpoint.text(), error));
}

/// The address of this machine that the master's name resolves to. Nullopt where that is none of
/// this machine's: Debian resolves the own name to 127.0.1.1, and containers have addresses that
/// only the network between them knows.
std::optional<SocketAddress> own_address_of(const Resolution& resolution) {
    const std::vector<SocketAddress> own = own_addresses();
    for (const SocketAddress& address : resolution.addresses) {
        const auto same = [&](const SocketAddress& mine) { return mine.host() == address.host(); };
        if (std::any_of(own.begin(), own.end(), same)) return address;
    }
    return std::nullopt;
}

std::string first_own_address() {
    const std::vector<SocketAddress> own = own_addresses();
    return own.empty() ? std::string(kLoopback) : own.front().host();
}

void warn_without_token(const LaunchInfo& launch, const std::string& endpoint) {
    if (!launch.job_token.empty()) return;
    std::fprintf(stderr,
                 "note: this run has no token: any process that reaches %s can read and disturb "
                 "it; set ISOFLOP_JOB_TOKEN to the same secret on all machines (openssl rand -hex "
                 "32)\n",
                 printable(endpoint).c_str());
}

/// Whether no other machine can connect.
bool stays_on_this_machine(const LaunchInfo& launch, const SocketAddress& address) {
    const bool named_so = launch.master_address == "localhost" ||
                          launch.master_address == address.host();  // a numeric address
    return address.is_loopback() && (named_so || launch.local_world_size == launch.world_size);
}

std::unique_ptr<Store> serve(const LaunchInfo& launch, FileDescriptor listener,
                             const std::string& endpoint, std::string local_address,
                             milliseconds timeout) {
    const SocketAddress end = local_end(listener);
    // Listening on everything includes the loopback interface, under either family.
    const Endpoint self{end.is_unspecified() ? kLoopback : end.host(), end.port()};
    auto server = std::make_unique<StoreServer>(std::move(listener), launch.world_size, endpoint,
                                                JobKey::of(launch), timeout);
    return std::make_unique<TcpStore>(launch, std::vector{self}, timeout, std::move(server),
                                      std::move(local_address));
}

/// Ranks of one machine use the loopback interface, which no other machine can reach. Otherwise
/// rank 0 listens on the address that the others use, or on all where it cannot know that.
std::unique_ptr<Store> host_store(const LaunchInfo& launch, milliseconds timeout) {
    const Endpoint endpoint{launch.master_address, launch.master_port};
    const Resolution resolution = resolve(endpoint.host, endpoint.port);
    if (resolution.addresses.empty()) {
        throw ConfigError(
            fmt::format("MASTER_ADDR '{}' is not the name or address of a machine: {}",
                        endpoint.host, resolution.error));
    }
    const SocketAddress& first = resolution.addresses.front();
    if (stays_on_this_machine(launch, first)) {
        return serve(launch, listen_or_explain(first, endpoint), endpoint.text(), first.host(),
                     timeout);
    }
    warn_without_token(launch, endpoint.text());
    const std::optional<SocketAddress> own = own_address_of(resolution);
    return serve(launch, listen_or_explain(own, endpoint), endpoint.text(),
                 own ? own->host() : first_own_address(), timeout);
}

// --- mpirun without MASTER_ADDR: rank 0 takes a free port and makes a token, and MPI broadcasts
// "PORT TOKEN HOST HOST ...".

std::vector<std::string> own_names(bool one_machine) {
    if (one_machine) return {kLoopback};
    std::vector<std::string> names;
    for (const SocketAddress& address : own_addresses()) names.push_back(address.host());
    names.push_back(host_name());
    return names;
}

struct Meeting {
    std::string token;
    std::vector<Endpoint> endpoints = {};
};

Meeting read_meeting(const std::string& text) {
    std::istringstream in(text);
    int port = 0;
    Meeting meeting;
    in >> port >> meeting.token;
    for (std::string host; in >> host;) meeting.endpoints.push_back({host, port});
    if (meeting.endpoints.empty()) throw ConfigError("MPI broadcast no address of rank 0");
    return meeting;
}

std::unique_ptr<Store> open_store_with_mpi(LaunchInfo launch, milliseconds timeout) {
    const bool one_machine = launch.local_world_size == launch.world_size;
    const MpiPlugin& mpi = MpiPlugin::instance();
    FileDescriptor listener;
    std::string text;
    if (launch.rank == 0) {
        std::optional<SocketAddress> loopback;
        if (one_machine) loopback = resolve(kLoopback, 0).addresses.at(0);
        listener = listen_or_explain(loopback, {host_name(), 0});
        text = fmt::format("{} {}", local_end(listener).port(), make_job_token());
        for (const std::string& name : own_names(one_machine)) text += " " + name;
    }
    Meeting meeting = read_meeting(mpi.broadcast(launch, text, timeout));
    launch.job_token = std::move(meeting.token);
    if (launch.rank == 0) {
        const Endpoint& own = meeting.endpoints.front();
        return serve(launch, std::move(listener), own.text(), own.host, timeout);
    }
    return std::make_unique<TcpStore>(launch, std::move(meeting.endpoints), timeout, nullptr, "");
}

/// Without the plug-in, ranks of one machine use the port that follows from their job.
LaunchInfo on_this_machine(LaunchInfo launch) {
    const bool one_machine = launch.local_world_size == launch.world_size;
    if (!one_machine || launch.master_port == 0) {
        throw ConfigError(fmt::format(
            "mpirun does not say where the {} ranks meet, and Isoflop's MPI plug-in is not there "
            "({}); set MASTER_ADDR to the machine of rank 0 and MASTER_PORT to a free port on it "
            "(Open MPI: mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500), or build Isoflop where "
            "MPI is installed",
            launch.world_size, MpiPlugin::instance().problem()));
    }
    launch.master_address = kLoopback;
    return launch;
}

}  // namespace

std::unique_ptr<Store> open_store(const LaunchInfo& given, milliseconds timeout) {
    timeout = std::clamp(timeout, milliseconds(1), kLongestTimeout);
    LaunchInfo launch = given;
    if (launch.world_size == 1) {
        launch.master_address = kLoopback;
        launch.master_port = 0;
    } else if (launch.master_address.empty()) {
        if (MpiPlugin::instance().loaded()) return open_store_with_mpi(launch, timeout);
        launch = on_this_machine(launch);
    }
    if (launch.rank == 0) return host_store(launch, timeout);
    const Endpoint endpoint{launch.master_address, launch.master_port};
    return std::make_unique<TcpStore>(launch, std::vector{endpoint}, timeout, nullptr, "");
}

}  // namespace isoflop::comm
