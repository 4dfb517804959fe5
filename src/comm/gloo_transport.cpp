// How ranks find and reach each other with Gloo: the store carries addresses and host names.
#include "isoflop/comm/gloo_transport.hpp"

#include "isoflop/base/error.hpp"

#ifdef ISOFLOP_HAVE_GLOO

#include <fmt/format.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

#include "comm/gloo_group.hpp"
#include "comm/gloo_proof.hpp"
#include "comm/job_key.hpp"
#include "comm/network_address.hpp"
#include "comm/sigpipe.hpp"

namespace isoflop::comm {
namespace {

class StoreForGloo final : public gloo::rendezvous::Store {
public:
    StoreForGloo(comm::Store& store, std::string prefix)
        : store_(store), prefix_(std::move(prefix)) {}

    void set(const std::string& key, const std::vector<char>& data) override {
        store_.set(prefix_ + key, std::string_view(data.data(), data.size()));
    }
    std::vector<char> get(const std::string& key) override {
        const std::string value = store_.get(prefix_ + key);
        return {value.begin(), value.end()};
    }
    using gloo::rendezvous::Store::wait;
    void wait(const std::vector<std::string>& keys) override {
        for (const std::string& key : keys) (void)store_.get(prefix_ + key);
    }

private:
    comm::Store& store_;
    std::string prefix_;
};

std::shared_ptr<gloo::transport::Device> make_device(const Store& store, const LaunchInfo& launch) {
    gloo::transport::tcp::attr attributes;
    const char* const interface = std::getenv("ISOFLOP_NETWORK_INTERFACE");
    if (interface != nullptr && *interface != '\0')
        attributes.iface = interface;
    else if (const std::string met_on = store.local_address(); !is_loopback(met_on))
        attributes.hostname = met_on;
    else  // perhaps rank 0's machine, whose own name leads to loopback (Debian)
        attributes.hostname = own_address_towards(launch.master_address);
    try {
        return gloo::transport::tcp::CreateDevice(attributes);
    } catch (const std::exception& error) {
        const std::string what = attributes.iface.empty()
                                     ? "address " + attributes.hostname
                                     : "interface " + attributes.iface +
                                           " (environment variable ISOFLOP_NETWORK_INTERFACE)";
        throw ConfigError("cannot use network " + what + ": " + error.what());
    }
}

std::string host_name() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
    return name.data();
}

/// The part of a group in which this rank connects.
struct Group {
    comm::Store& store;
    const LaunchInfo& launch;
    std::string prefix;              ///< of its keys in the store
    int rank = 0;                    ///< in the group
    std::vector<std::string> names;  ///< "rank 3 on node7"
};

/// Random, made by the first rank of the group, and known to those that the store knows as ranks.
JobKey key_of(const Group& group) {
    const std::string name = group.prefix + "key";
    if (group.rank == 0) group.store.set(name, make_job_token());
    return JobKey(group.store.get(name));
}

struct Mesh {
    std::shared_ptr<gloo::rendezvous::Context> context;
    std::string problem;  ///< of this rank; empty when all pairs are proved
};

/// One attempt to connect all pairs.
Mesh connect_mesh(const Group& group, const JobKey& key, std::string prefix,
                  std::chrono::milliseconds timeout) {
    // A silent stranger must not take all the time of the attempts.
    constexpr std::chrono::milliseconds kProofTime{10'000};
    Mesh mesh;
    auto device = make_device(group.store, group.launch);
    mesh.context = std::make_shared<gloo::rendezvous::Context>(
        group.rank, static_cast<int>(group.names.size()));
    // Gloo waits five times as long for a connection.
    mesh.context->setTimeout(std::max(timeout / 5, std::chrono::milliseconds(1)));
    StoreForGloo gloo_store(group.store, std::move(prefix));
    try {
        mesh.context->connectFullMesh(gloo_store, device);
    } catch (const Error&) {  // of the store
        throw;
    } catch (const std::exception& error) {
        mesh.problem = std::string("cannot connect to the other ranks: ") + error.what();
        return mesh;
    }
    const std::vector<std::string> unproved =
        unproved_ranks(*mesh.context, key, group.names, std::min(timeout, kProofTime));
    if (!unproved.empty()) {
        mesh.problem =
            fmt::format("no proof that {} answers at the other end", fmt::join(unproved, ", "));
    }
    return mesh;
}

/// The problems of all ranks in an attempt; empty when every rank is connected to all others.
std::string problems_of_all(const Group& group, const std::string& prefix,
                            const std::string& problem) {
    group.store.set(prefix + "problem/" + std::to_string(group.rank), problem);
    std::string problems;
    for (std::size_t other = 0; other < group.names.size(); ++other) {
        const std::string found = group.store.get(prefix + "problem/" + std::to_string(other));
        if (!found.empty()) problems += fmt::format("\n  {}: {}", group.names[other], found);
    }
    return problems;
}

std::shared_ptr<gloo::rendezvous::Context> connect_proved(const Group& group,
                                                          std::chrono::milliseconds timeout) {
    constexpr int kAttempts = 3;
    const JobKey key = key_of(group);
    std::string problems;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const std::string prefix = fmt::format("{}{}/", group.prefix, attempt);
        Mesh mesh = connect_mesh(group, key, prefix, timeout);
        problems = problems_of_all(group, prefix, mesh.problem);
        if (problems.empty()) return mesh.context;
    }
    throw LostRank(
        -1, fmt::format("the ranks could not connect to each other in {} attempts; a program that "
                        "is no rank of this run may have connected to their ports, or a firewall "
                        "may close them:{}",
                        kAttempts, problems));
}

}  // namespace

bool has_gloo() {
    return true;
}

std::unique_ptr<PointToPoint> connect_gloo_group(Store& store, const LaunchInfo& launch,
                                                 const std::string& name,
                                                 const std::vector<int>& members,
                                                 std::chrono::milliseconds timeout) {
    const auto self = std::find(members.begin(), members.end(), launch.rank);
    if (self == members.end())
        throw std::invalid_argument("group " + name + ": this rank is not among its members");
    const auto size = static_cast<int>(members.size());
    const auto rank = static_cast<int>(self - members.begin());
    if (size == 1) {
        return std::move(
            make_local_group(1, std::chrono::duration<double>(timeout).count()).front());
    }

    const SigpipeBlocked guard;  // the thread of Gloo inherits it
    const std::string prefix = "gloo/" + name + "/";
    store.set(prefix + "host/" + std::to_string(rank), host_name());
    Group group{.store = store, .launch = launch, .prefix = prefix, .rank = rank, .names = {}};
    for (int other = 0; other < size; ++other) {
        group.names.push_back("rank " + std::to_string(members[static_cast<std::size_t>(other)]) +
                              " on " + store.get(prefix + "host/" + std::to_string(other)));
    }
    std::shared_ptr<gloo::Context> context = connect_proved(group, timeout);
    return make_gloo_group(std::move(context), std::move(group.names), timeout);
}

std::unique_ptr<PointToPoint> connect_gloo(Store& store, const LaunchInfo& launch,
                                           std::chrono::milliseconds timeout) {
    std::vector<int> everybody(static_cast<std::size_t>(launch.world_size));
    std::iota(everybody.begin(), everybody.end(), 0);
    return connect_gloo_group(store, launch, "all", everybody, timeout);
}

}  // namespace isoflop::comm

#else

namespace isoflop::comm {

bool has_gloo() {
    return false;
}

std::unique_ptr<PointToPoint> connect_gloo_group(Store& store, const LaunchInfo& launch,
                                                 const std::string&, const std::vector<int>&,
                                                 std::chrono::milliseconds timeout) {
    return connect_gloo(store, launch, timeout);
}

std::unique_ptr<PointToPoint> connect_gloo(Store&, const LaunchInfo&, std::chrono::milliseconds) {
    throw ConfigError(
        "this build cannot train on several processes: it was made without Gloo. Install it "
        "(Debian, Ubuntu: libgloo-dev), configure and build again");
}

}  // namespace isoflop::comm

#endif  // ISOFLOP_HAVE_GLOO
