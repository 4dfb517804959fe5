// TCP sockets with deadlines, over IPv4 and IPv6.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/file_descriptor.hpp"

namespace isoflop::comm {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;

    [[nodiscard]] int port() const;
    void set_port(int port);
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_unspecified() const;  ///< means all addresses of this machine
    [[nodiscard]] std::string host() const;     ///< numeric: "10.0.0.7", "fe80::1%eth0"
};

/// The addresses of a host name or numeric address. When there are none, `error` says why, and
/// `unknown` that the name itself is the reason.
struct Resolution {
    std::vector<SocketAddress> addresses = {};
    std::string error = {};
    bool unknown = false;
};
[[nodiscard]] Resolution resolve(const std::string& host, int port);

/// "host:port", "[::1]:port"
[[nodiscard]] std::string endpoint_text(std::string_view host, int port);

/// Listens on one address, or with nullopt on all of this machine. Port 0 takes a free one. Not
/// open on failure, with the system's message in `error`.
[[nodiscard]] FileDescriptor listen_on(std::optional<SocketAddress> address, int port,
                                       std::string& error);
/// A free port of the loopback interface; another program may take it a moment later.
[[nodiscard]] int free_port();

/// The address of this end.
[[nodiscard]] SocketAddress local_end(const FileDescriptor& socket);
/// Of this machine's interfaces that others may reach.
[[nodiscard]] std::vector<SocketAddress> own_addresses();
[[nodiscard]] std::string host_name();

/// A connected, non-blocking socket; not open on failure, with the reason in `error`.
[[nodiscard]] FileDescriptor connect_to(const SocketAddress& address, Deadline deadline,
                                        std::string& error);

/// Milliseconds for poll(), rounded up so that it does not spin just before the deadline.
[[nodiscard]] int poll_milliseconds(Deadline deadline);

/// Waits for poll() events; false at the deadline. Throws Stopped when this process is to stop.
[[nodiscard]] bool wait_for(const FileDescriptor& socket, short events, Deadline deadline);

}  // namespace isoflop::comm
