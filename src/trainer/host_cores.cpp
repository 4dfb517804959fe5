#include "host_cores.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <ostream>

#include "isoflop/base/checksum.hpp"

namespace isoflop::trainer {
namespace {

/// Linux numbers at most 8192 CPUs. Words of a mask are exact as doubles.
constexpr std::size_t kMaskWords = 256;
/// Host, container, threads, peak and quota come before the mask.
constexpr std::size_t kValuesBeforeMask = 5;
constexpr std::size_t kValues = kValuesBeforeMask + kMaskWords;

std::string host_name() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0) return {};
    return name.data();
}

/// What the kernel draws when it starts: the same for all containers of a machine, which have names
/// of their own, and another for machines of one name. The name where there is none.
std::string machine_id() {
    std::string boot;
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::getline(file, boot);
    return boot.empty() ? host_name() : boot;
}

/// Cores that a rank keeps busy when it has them for itself.
int busy_cores(const RankCores& rank) {
    return std::max(1, std::min(rank.threads, rank.cpus.count()));
}

/// Cores of a host while its ranks are added.
struct Cores {
    std::map<std::uint32_t, device::UsableCpus> containers;
    device::UsableCpus all;    ///< of all containers, without their quotas
    double peak_per_core = 0;  ///< the highest that a rank measured
    double sum_of_peaks = 0;

    void add(const RankCores& rank) {
        device::UsableCpus& container = containers[rank.container];
        for (device::UsableCpus* cpus : {&all, &container}) {
            if (cpus->mask.size() < rank.cpus.mask.size()) cpus->mask.resize(rank.cpus.mask.size());
            for (std::size_t word = 0; word < rank.cpus.mask.size(); ++word)
                cpus->mask[word] |= rank.cpus.mask[word];
        }
        if (rank.cpus.quota)
            container.quota = std::max(container.quota.value_or(0), *rank.cpus.quota);
        peak_per_core = std::max(peak_per_core, rank.peak_flops / busy_cores(rank));
        sum_of_peaks += rank.peak_flops;
    }
    [[nodiscard]] int count() const {
        int allowed = 0;
        for (const auto& [name, cpus] : containers) allowed += cpus.count();
        return std::min(allowed, all.count());
    }
    [[nodiscard]] double peak() const { return std::min(sum_of_peaks, count() * peak_per_core); }
};

}  // namespace

RankCores cores_of_this_rank(int threads, double peak_flops) {
    return {.host = crc32c(machine_id()),
            .container = crc32c(host_name()),
            .threads = threads,
            .peak_flops = peak_flops,
            .cpus = device::usable_cpus()};
}

std::vector<double> to_values(const RankCores& cores) {
    std::vector<double> values{
        static_cast<double>(cores.host), static_cast<double>(cores.container),
        static_cast<double>(cores.threads), cores.peak_flops, cores.cpus.quota.value_or(0)};
    const std::size_t words = std::min(cores.cpus.mask.size(), kMaskWords);
    for (std::size_t word = 0; word < words; ++word)
        values.push_back(static_cast<double>(cores.cpus.mask[word]));
    values.resize(kValues);
    return values;
}

std::vector<RankCores> from_values(std::span<const double> all, int ranks) {
    std::vector<RankCores> result;
    for (int rank = 0; rank < ranks; ++rank) {
        const auto values = all.subspan(static_cast<std::size_t>(rank) * kValues, kValues);
        RankCores cores{.host = static_cast<std::uint32_t>(values[0]),
                        .container = static_cast<std::uint32_t>(values[1]),
                        .threads = static_cast<int>(values[2]),
                        .peak_flops = values[3]};
        if (values[4] > 0) cores.cpus.quota = values[4];
        for (const double word : values.subspan(kValuesBeforeMask))
            cores.cpus.mask.push_back(static_cast<std::uint32_t>(word));
        result.push_back(std::move(cores));
    }
    return result;
}

std::vector<HostCores> hosts_of(std::span<const RankCores> ranks) {
    std::vector<HostCores> hosts;
    std::vector<Cores> cores;
    std::map<std::uint32_t, std::size_t> index;
    int number = 0;
    for (const RankCores& rank : ranks) {
        const auto [place, is_new] = index.try_emplace(rank.host, hosts.size());
        if (is_new) {
            hosts.push_back({.first_rank = number, .ranks = 0, .threads = 0});
            cores.emplace_back();
        }
        ++hosts[place->second].ranks;
        hosts[place->second].threads += rank.threads;
        cores[place->second].add(rank);
        ++number;
    }
    for (std::size_t host = 0; host < hosts.size(); ++host) {
        hosts[host].cores = cores[host].count();
        hosts[host].peak_flops = cores[host].peak();
    }
    return hosts;
}

std::vector<HostCores> planned_hosts(const RankCores& mine, const comm::LaunchInfo& launch,
                                     bool bound) {
    std::vector<HostCores> hosts;
    for (int first = 0; first < launch.world_size; first += launch.local_world_size) {
        const int ranks = std::min(launch.local_world_size, launch.world_size - first);
        const int cores = mine.cpus.count() * (bound ? ranks : 1);
        hosts.push_back({.first_rank = first,
                         .ranks = ranks,
                         .threads = ranks * mine.threads,
                         .cores = cores,
                         .peak_flops = mine.peak_flops *
                                       std::min(static_cast<double>(ranks),
                                                static_cast<double>(cores) / busy_cores(mine))});
    }
    return hosts;
}

double total_peak_flops(std::span<const HostCores> hosts) {
    double total = 0;
    for (const HostCores& host : hosts) total += host.peak_flops;
    return total;
}

std::string oversubscription_warning(std::span<const HostCores> hosts) {
    const HostCores* fullest = nullptr;
    const auto load = [](const HostCores& host) {
        return static_cast<double>(host.threads) / host.cores;
    };
    for (const HostCores& host : hosts) {
        if (host.ranks == 1 || host.threads <= host.cores) continue;
        if (fullest == nullptr || load(host) > load(*fullest)) fullest = &host;
    }
    if (fullest == nullptr) return {};
    const int share = fullest->cores / fullest->ranks;
    const std::string advice =
        share > 0
            ? fmt::format("set threads={}", share)
            : fmt::format("start at most {} there",
                          fullest->cores == 1 ? "1 rank" : fmt::format("{} ranks", fullest->cores));
    return fmt::format(
        "{} ranks with {} threads in all share {} core{} on the host of rank {}, and wait for each "
        "other; {}, or use more hosts. The peak, which MFU is against, is that of the cores",
        fullest->ranks, fullest->threads, fullest->cores, fullest->cores == 1 ? "" : "s",
        fullest->first_rank, advice);
}

void share_cores(Hardware& hardware, std::span<const HostCores> hosts) {
    hardware.peak_flops = total_peak_flops(hosts);
    hardware.warning = oversubscription_warning(hosts);
}

void warn_of_shared_cores(const Hardware& hardware, std::ostream& out) {
    if (!hardware.warning.empty()) out << "warning: " << hardware.warning << '\n';
}

}  // namespace isoflop::trainer
