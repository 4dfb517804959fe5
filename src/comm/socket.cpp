#include "comm/socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "isoflop/base/stop.hpp"

namespace isoflop::comm {
namespace {

std::string error_text(int code) {
    return std::generic_category().message(code);
}

const sockaddr* raw(const SocketAddress& address) {
    return reinterpret_cast<const sockaddr*>(&address.storage);
}

SocketAddress copy_address(const sockaddr* address, std::size_t length) {
    SocketAddress copy;
    std::memcpy(&copy.storage, address, length);
    copy.length = static_cast<socklen_t>(length);
    return copy;
}

SocketAddress any_address(int family) {
    SocketAddress address;
    address.storage.ss_family = static_cast<sa_family_t>(family);
    address.length = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    return address;
}

void set_option(const FileDescriptor& socket, int level, int option, int value) {
    // All of them are improvements; a system that lacks one still works.
    (void)::setsockopt(socket.get(), level, option, &value, sizeof value);
}

FileDescriptor listen_on_one(SocketAddress address, int port, bool both_families, int& code) {
    address.set_port(port);
    FileDescriptor socket(
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.is_open()) {
        // A run that has just ended leaves connections in TIME_WAIT; this option allows the next
        // run to use its port.
        set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
        if (address.storage.ss_family == AF_INET6) {
            set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1);
        }
        if (::bind(socket.get(), raw(address), address.length) == 0 &&
            ::listen(socket.get(), SOMAXCONN) == 0) {
            return socket;
        }
    }
    code = errno;
    return {};
}

bool is_link_local(const SocketAddress& address) {
    if (address.storage.ss_family != AF_INET6) return false;
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    return IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

}  // namespace

int SocketAddress::port() const {
    if (storage.ss_family == AF_INET6) {
        return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
    }
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

void SocketAddress::set_port(int port) {
    const in_port_t value = htons(static_cast<std::uint16_t>(port));
    if (storage.ss_family == AF_INET6) {
        reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = value;
    } else {
        reinterpret_cast<sockaddr_in*>(&storage)->sin_port = value;
    }
}

bool SocketAddress::is_loopback() const {
    if (storage.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
        return std::memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
    }
    const auto& v4 = reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr;
    return (ntohl(v4.s_addr) >> 24U) == 127;
}

bool SocketAddress::is_unspecified() const {
    if (storage.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
        return std::memcmp(&v6, &in6addr_any, sizeof v6) == 0;
    }
    return reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr == htonl(INADDR_ANY);
}

std::string SocketAddress::host() const {
    std::array<char, NI_MAXHOST> text{};
    const int status =
        ::getnameinfo(raw(*this), length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
    return status == 0 ? text.data() : "unknown address";
}

Resolution resolve(const std::string& host, int port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (status != 0) {
        return {.error = status == EAI_SYSTEM ? error_text(errno) : ::gai_strerror(status),
                .unknown = status == EAI_NONAME || status == EAI_FAIL};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
    Resolution resolution;
    for (const addrinfo* item = list.get(); item != nullptr; item = item->ai_next) {
        if (item->ai_family != AF_INET && item->ai_family != AF_INET6) continue;
        resolution.addresses.push_back(copy_address(item->ai_addr, item->ai_addrlen));
    }
    if (resolution.addresses.empty()) resolution.error = "no IPv4 or IPv6 address";
    return resolution;
}

std::string endpoint_text(std::string_view host, int port) {
    const bool v6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
    return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

FileDescriptor listen_on(std::optional<SocketAddress> address, int port, std::string& error) {
    int code = 0;
    FileDescriptor socket;
    if (address) {
        socket = listen_on_one(*address, port, false, code);
    } else {
        socket = listen_on_one(any_address(AF_INET6), port, true, code);
        if (!socket.is_open() && code != EADDRINUSE && code != EACCES) {
            socket = listen_on_one(any_address(AF_INET), port, false, code);  // no IPv6 here
        }
    }
    if (!socket.is_open()) error = error_text(code);
    return socket;
}

int free_port() {
    SocketAddress loopback = any_address(AF_INET);
    reinterpret_cast<sockaddr_in*>(&loopback.storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string error;
    const FileDescriptor socket = listen_on(loopback, 0, error);
    if (!socket.is_open()) throw std::runtime_error("no free port on this machine: " + error);
    return local_end(socket).port();
}

SocketAddress local_end(const FileDescriptor& socket) {
    SocketAddress address;
    address.length = sizeof address.storage;
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address.storage),
                      &address.length) != 0) {
        throw std::system_error(errno, std::generic_category(), "getsockname");
    }
    return address;
}

std::vector<SocketAddress> own_addresses() {
    ifaddrs* found = nullptr;
    if (::getifaddrs(&found) != 0) return {};
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(found, &::freeifaddrs);
    std::vector<SocketAddress> addresses;
    for (const ifaddrs* item = list.get(); item != nullptr; item = item->ifa_next) {
        if (item->ifa_addr == nullptr || (item->ifa_flags & IFF_UP) == 0) continue;
        const int family = item->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const SocketAddress address = copy_address(item->ifa_addr, any_address(family).length);
        // Link-local addresses mean nothing on another machine.
        if (!address.is_loopback() && !is_link_local(address)) addresses.push_back(address);
    }
    return addresses;
}

std::string host_name() {
    std::array<char, HOST_NAME_MAX + 1> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

FileDescriptor connect_to(const SocketAddress& address, Deadline deadline, std::string& error) {
    FileDescriptor socket(
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int code = socket.is_open() ? 0 : errno;
    if (code == 0 && ::connect(socket.get(), raw(address), address.length) != 0) {
        code = errno;
        if (code == EINPROGRESS || code == EINTR) {
            code = ETIMEDOUT;
            socklen_t length = sizeof code;
            if (wait_for(socket, POLLOUT, deadline) &&
                ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &length) != 0) {
                code = errno;
            }
        }
    }
    // A socket can connect to itself on a port without a listener, when the system picks the same
    // port for this end.
    if (code == 0 && local_end(socket).port() == address.port() &&
        local_end(socket).host() == address.host()) {
        code = ECONNREFUSED;
    }
    if (code != 0) {
        error = error_text(code);
        return {};
    }
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    return socket;
}

int poll_milliseconds(Deadline deadline) {
    constexpr std::int64_t kHour = 3'600'000;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kHour));
}

bool wait_for(const FileDescriptor& socket, short events, Deadline deadline) {
    for (;;) {
        std::array<pollfd, 2> entries{
            pollfd{.fd = socket.get(), .events = events, .revents = 0},
            pollfd{.fd = stop_descriptor(), .events = POLLIN, .revents = 0}};
        const int ready = ::poll(entries.data(), entries.size(), poll_milliseconds(deadline));
        if (ready > 0 && entries[0].revents != 0) return true;
        throw_if_stopped("waiting for the other ranks");
        if (ready < 0 && errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "poll");
        }
        if (Clock::now() >= deadline) return false;
    }
}

}  // namespace isoflop::comm
