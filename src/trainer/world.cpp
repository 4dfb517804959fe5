#include "world.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/comm/connect.hpp"
#include "isoflop/comm/gloo_transport.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/thread_pool.hpp"

namespace isoflop::trainer {
namespace {

/// One "key=value" per line, as ranks compare it.
std::string config_lines(const recipe::TrainKeys& keys) {
    const nlohmann::ordered_json json = to_json(keys);
    std::string lines;
    for (const auto& entry : json.items())
        lines += fmt::format(
            "{}={}\n", entry.key(),
            entry.value().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return lines;
}

/// The answer of the first rank to the other ranks: an exit code, then its choice or the reason of
/// its failure.
std::string encode(ExitCode code, std::string_view text) {
    return fmt::format("{} {}", static_cast<int>(code), text);
}

std::string decode(const std::string& answer) {
    const auto last = static_cast<char>('0' + static_cast<int>(ExitCode::diverged));
    if (answer.size() < 2 || answer[0] < '0' || answer[0] > last || answer[1] != ' ')
        throw IoError("what rank 0 answered through the store is damaged");
    const auto code = static_cast<ExitCode>(answer[0] - '0');
    std::string text = answer.substr(2);
    if (code != ExitCode::ok) throw Error(code, text);
    return text;
}

}  // namespace

World World::planned(const comm::LaunchInfo& launch) {
    World world;
    world.launch_ = launch;
    return world;
}

World World::join(const comm::LaunchInfo& launch, const recipe::TrainKeys& keys) {
    World world;
    world.launch_ = launch;
    world.timeout_ = std::chrono::milliseconds(
        static_cast<std::int64_t>(keys.execution.comm_timeout_s * 1000.0));
    if (launch.world_size == 1) return world;
    if (!comm::has_gloo()) {
        throw ConfigError(
            "this build has no library for communication; install Gloo (Debian: libgloo-dev) and "
            "build again, or start one rank");
    }
    world.store_ = comm::open_store(launch, world.timeout_);
    comm::agree(*world.store_, launch,
                {fmt::format("{} {}", version(), commit()), config_lines(keys)});
    return world;
}

std::string World::from_first(std::string_view what,
                              const std::function<std::string()>& choose) const {
    if (!store_) return choose();
    const std::string key = fmt::format("first/{}", what);
    const auto read_by = [&](int rank) { return fmt::format("{}/read by {}", key, rank); };
    if (!is_first()) {
        const std::string answer = store_->get(key);
        store_->set(read_by(launch_.rank), "");
        return decode(answer);
    }
    try {
        std::string chosen = choose();
        store_->set(key, encode(ExitCode::ok, chosen));
        return chosen;
    } catch (const Error& error) {
        store_->set(key, encode(error.exit_code(), error.what()));
        // The store ends with this rank; ranks that have not read it yet would treat this rank as
        // lost.
        try {
            for (int rank = 1; rank < size(); ++rank) (void)store_->get(read_by(rank));
        } catch (const comm::LostRank&) {
        }
        throw;
    }
}

namespace {

/// Copies of the state lie on consecutive ranks.
comm::GroupMembers members_of(sharding::RankGroup group, const comm::LaunchInfo& launch,
                              int shard_size) {
    const int copy = launch.rank / shard_size;
    const int part = launch.rank % shard_size;
    comm::GroupMembers members;
    for (int rank = 0; rank < launch.world_size; ++rank) {
        const bool included = group == sharding::RankGroup::all ||
                              (group == sharding::RankGroup::shard && rank / shard_size == copy) ||
                              (group == sharding::RankGroup::copies && rank % shard_size == part);
        if (included) members.ranks.push_back(rank);
    }
    switch (group) {
        case sharding::RankGroup::all: members.name = "all"; break;
        case sharding::RankGroup::shard: members.name = fmt::format("shard {}", copy); break;
        case sharding::RankGroup::copies: members.name = fmt::format("copies of {}", part); break;
    }
    return members;
}

}  // namespace

CommunicatorFactory World::connector(const cost::Execution& execution,
                                     device::Device& device) const {
    if (!store_) return {};
    const auto shard_size = static_cast<int>(execution.shard_ranks());
    return [this, shard_size, &device](sharding::RankGroup group, std::span<std::byte> staging) {
        return comm::connect_group(*store_, launch_, members_of(group, launch_, shard_size), device,
                                   staging, timeout_);
    };
}

bool has_own_cores(const comm::LaunchInfo& launch) {
    return static_cast<long>(device::default_thread_count()) * launch.local_world_size <=
           sysconf(_SC_NPROCESSORS_ONLN);
}

int threads_of_rank(const recipe::ExecutionKeys& keys, const comm::LaunchInfo& launch) {
    if (keys.threads) return static_cast<int>(*keys.threads);
    const int usable = device::default_thread_count();
    return has_own_cores(launch) ? usable : std::max(1, usable / launch.local_world_size);
}

}  // namespace isoflop::trainer
