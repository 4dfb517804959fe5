// The cores of each host and the ranks that compute on them. Every rank measures the peak of its
// own threads. Where ranks share cores, each of them still finds moments in which it has a core to
// itself, so the sum of their figures counts that core several times. A host has no more than its
// cores deliver, at the rate per core of the rank that measured the highest. Internal to the
// trainer.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "isoflop/comm/launch.hpp"
#include "isoflop/device/usable_cpus.hpp"
#include "isoflop/trainer/startup_report.hpp"

namespace isoflop::trainer {

/// What a rank tells the other ranks.
struct RankCores {
    std::uint32_t host = 0;       ///< checksum of what identifies the machine
    std::uint32_t container = 0;  ///< of the name under which it knows itself; may have a quota
    int threads = 1;
    double peak_flops = 0;  ///< of its threads, measured while the other ranks measure theirs
    device::UsableCpus cpus = {};
};

/// The ranks of one machine together.
struct HostCores {
    int first_rank = 0;
    int ranks = 1;
    int threads = 1;        ///< of all its ranks
    int cores = 1;          ///< that its ranks may use
    double peak_flops = 0;  ///< of all its ranks, computing at the same time
};

[[nodiscard]] RankCores cores_of_this_rank(int threads, double peak_flops);

/// As numbers that Communicator::gather_values passes on: equally many of every rank.
[[nodiscard]] std::vector<double> to_values(const RankCores& cores);
[[nodiscard]] std::vector<RankCores> from_values(std::span<const double> all, int ranks);

/// In the order of their first ranks.
[[nodiscard]] std::vector<HostCores> hosts_of(std::span<const RankCores> ranks);

/// Of ranks that are only planned: `launch` says how many, and how many of them on a machine like
/// this one. `bound`: a launcher gives each rank cores of its own.
[[nodiscard]] std::vector<HostCores> planned_hosts(const RankCores& mine,
                                                   const comm::LaunchInfo& launch, bool bound);

[[nodiscard]] double total_peak_flops(std::span<const HostCores> hosts);

/// Names ranks, cores and threads of the fullest host where its ranks run more threads than it has
/// cores; empty otherwise, and for a rank that is alone on its host.
[[nodiscard]] std::string oversubscription_warning(std::span<const HostCores> hosts);

/// Sets the peak of the hosts, and the warning of the fullest.
void share_cores(Hardware& hardware, std::span<const HostCores> hosts);
void warn_of_shared_cores(const Hardware& hardware, std::ostream& out);

}  // namespace isoflop::trainer
