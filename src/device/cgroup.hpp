// What the control groups of this process allow: containers and batch systems give less than the
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

/// Reads versions 1 and 2. The arguments are for tests; what cannot be read limits nothing.
[[nodiscard]] CgroupLimits read_cgroup_limits(
    const std::filesystem::path& membership = "/proc/self/cgroup",
    const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace isoflop::device
