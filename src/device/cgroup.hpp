// Limits of the control groups of this process: containers and batch systems allow less than the
// machine has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace isoflop::device {

struct CgroupLimits {
    std::optional<double> cpus;                 ///< CPU time per wall time
    std::optional<std::uint64_t> memory_bytes;  ///< smallest limit on the way to the root
};

/// Reads versions 1 and 2. The arguments are for tests; a file that cannot be read sets no limit.
[[nodiscard]] CgroupLimits read_cgroup_limits(
    const std::filesystem::path& membership = "/proc/self/cgroup",
    const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace isoflop::device
