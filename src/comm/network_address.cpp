#include "comm/network_address.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "isoflop/base/error.hpp"

namespace isoflop::comm {
namespace {

constexpr const char* kLoopback = "127.0.0.1";

std::string numeric(const sockaddr* address, socklen_t length) {
    std::array<char, NI_MAXHOST> text{};
    const int status =
        getnameinfo(address, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
    return status == 0 ? text.data() : "";
}

/// The source address that the kernel would use; nothing is sent. Empty when there is no route.
std::string source_address(const addrinfo& destination) {
    const int descriptor = socket(destination.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return "";
    std::string result;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    auto* const own_address = reinterpret_cast<sockaddr*>(&own);
    if (connect(descriptor, destination.ai_addr, destination.ai_addrlen) == 0 &&
        getsockname(descriptor, own_address, &length) == 0) {
        result = numeric(own_address, length);
    }
    close(descriptor);
    return result;
}

/// IPv4 address of an active interface; empty when this machine has only loopback.
std::string first_outside_address() {
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return "";
    const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
        if ((entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
        return numeric(entry->ifa_addr, sizeof(sockaddr_in));
    }
    return "";
}

}  // namespace

bool is_loopback(const std::string& address) {
    return address.empty() || address == "localhost" || address == "::1" ||
           address.starts_with("127.");
}

std::string own_address_towards(const std::string& master_address) {
    if (is_loopback(master_address)) return kLoopback;
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* found = nullptr;
    // The kernel finds the route for any port.
    const int status = getaddrinfo(master_address.c_str(), "9", &hints, &found);
    if (status != 0) {
        throw ConfigError("cannot find the master's address \"" + master_address +
                          "\": " + gai_strerror(status));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        std::string address = source_address(*entry);
        if (!is_loopback(address)) return address;
    }
    const std::string outside = first_outside_address();
    return outside.empty() ? kLoopback : outside;
}

}  // namespace isoflop::comm
