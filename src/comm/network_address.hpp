// Which of this machine's addresses the other ranks can reach.
#pragma once

#include <string>

namespace isoflop::comm {

/// Also true for an empty address, which means this machine.
[[nodiscard]] bool is_loopback(const std::string& address);

/// Numeric address of this machine on the way to the master: loopback when the master's address is
/// loopback as written. The host's own name often means loopback too (Debian's /etc/hosts), where
/// other machines cannot reach it; then it is the first address that is not. Throws ConfigError
/// when the master's name cannot be resolved.
[[nodiscard]] std::string own_address_towards(const std::string& master_address);

}  // namespace isoflop::comm
