// How ranks find and reach each other with Gloo: the store carries addresses and host names.
#include "isoflop/comm/gloo_transport.hpp"

#include "isoflop/base/error.hpp"

#ifdef ISOFLOP_HAVE_GLOO

#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

#include "comm/gloo_group.hpp"
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
    auto device = make_device(store, launch);
    store.set(prefix + "host/" + std::to_string(rank), host_name());
    auto context = std::make_shared<gloo::rendezvous::Context>(rank, size);
    // Gloo waits five times as long for a connection.
    context->setTimeout(std::max(timeout / 5, std::chrono::milliseconds(1)));
    StoreForGloo gloo_store(store, prefix);
    try {
        context->connectFullMesh(gloo_store, device);
    } catch (const LostRank&) {
        throw;
    } catch (const std::exception& error) {
        throw LostRank(-1, std::string("cannot connect to the other ranks: ") + error.what());
    }
    std::vector<std::string> names;
    names.reserve(members.size());
    for (int other = 0; other < size; ++other) {
        names.push_back("rank " + std::to_string(members[static_cast<std::size_t>(other)]) +
                        " on " + store.get(prefix + "host/" + std::to_string(other)));
    }
    return make_gloo_group(std::move(context), std::move(names), timeout);
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
