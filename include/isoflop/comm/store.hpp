// A key-value store over TCP that rank 0 hosts: ranks find each other through it before they are
// connected.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "isoflop/comm/launch.hpp"

namespace isoflop::comm {

class Store {
public:
    virtual ~Store() = default;
    virtual void set(std::string_view key, std::string_view value) = 0;
    /// Waits until a rank has set the key; LostRank after the store's timeout, naming the key.
    [[nodiscard]] virtual std::string get(std::string_view key) = 0;
    /// Adds to a counter that begins at 0 and returns the sum.
    virtual std::int64_t add(std::string_view key, std::int64_t amount) = 0;
    /// The numeric address of this machine on the network that connects the ranks: a transport
    /// should listen on it. Empty when it is unknown.
    [[nodiscard]] virtual std::string local_address() const { return {}; }
};

/// Rank 0 listens on master_port and answers all ranks, itself included. The other ranks connect
/// and try again until the timeout. With an empty master_address MPI supplies the address, or all
/// ranks are on this machine. Every rank keeps its store until it has finished, rank 0 the longest:
/// a rank that closes it without destroying it counts as lost, which ends the waits of all ranks at
/// once.
///
/// ConfigError when the port is taken, the address is no address, or the ranks do not agree on the
/// world size or have a rank twice (on every rank); LostRank when rank 0 cannot be reached in time.
[[nodiscard]] std::unique_ptr<Store> open_store(const LaunchInfo& given,
                                                std::chrono::milliseconds timeout);

/// The facts on which all ranks of a run must agree before they start.
struct Handshake {
    std::string version;  ///< of the program, with its commit
    std::string config;   ///< the resolved configuration, one "key=value" per line
};

/// Throws ConfigError on every rank when any differs from rank 0, naming rank, host and what
/// differs (the first differing lines of the configuration, or both versions).
void agree(Store& store, const LaunchInfo& launch, const Handshake& handshake);

}  // namespace isoflop::comm
