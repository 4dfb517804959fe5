// A process belongs to one group per hierarchy, and every group on the way up to the root may set a
// limit; the smallest counts. Inside a container the path may be given as the host sees it, and
// then only the mounted root is there to read: walking up finds it.
#include "device/cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

namespace isoflop::device {
namespace {

namespace fs = std::filesystem;

template <class T>
void lower(std::optional<T>& limit, T value) {
    limit = limit ? std::min(*limit, value) : value;
}

/// First two words of a file; "max" and what is not a number come back as nullopt.
struct TwoNumbers {
    std::optional<double> first;
    std::optional<double> second;
};
TwoNumbers read_two_numbers(const fs::path& path) {
    TwoNumbers numbers;
    std::ifstream file(path);
    double value = 0;
    if (file >> value) numbers.first = value;
    if (numbers.first && file >> value) numbers.second = value;
    return numbers;
}

void read_cpu_limit(const fs::path& group, CgroupLimits& limits) {
    // Version 2: "quota period" or "max period".
    const auto [quota, period] = read_two_numbers(group / "cpu.max");
    if (quota && period && *period > 0) lower(limits.cpus, *quota / *period);
    // Version 1: -1 is no limit.
    const auto quota_v1 = read_two_numbers(group / "cpu.cfs_quota_us").first;
    const auto period_v1 = read_two_numbers(group / "cpu.cfs_period_us").first;
    if (quota_v1 && period_v1 && *quota_v1 > 0 && *period_v1 > 0) {
        lower(limits.cpus, *quota_v1 / *period_v1);
    }
}

void read_memory_limit(const fs::path& group, CgroupLimits& limits) {
    for (const char* name : {"memory.max", "memory.limit_in_bytes"}) {
        const auto bytes = read_two_numbers(group / name).first;
        // Version 1 writes "no limit" as the largest multiple of a page.
        if (bytes && *bytes > 0 && *bytes < 1e18) {
            lower(limits.memory_bytes, static_cast<std::uint64_t>(*bytes));
        }
    }
}

bool has_controller(std::string_view controllers, std::string_view wanted) {
    while (!controllers.empty()) {
        const std::size_t comma = controllers.find(',');
        if (controllers.substr(0, comma) == wanted) return true;
        if (comma == std::string_view::npos) break;
        controllers.remove_prefix(comma + 1);
    }
    return false;
}

/// Calls read for the group and each group above it, the root of the hierarchy included.
template <class Read>
void walk_up(const fs::path& hierarchy, std::string_view group, Read read) {
    fs::path relative = fs::path(group).relative_path();
    while (true) {
        read(hierarchy / relative);
        if (relative.empty()) return;
        relative = relative.parent_path();
    }
}

}  // namespace

CgroupLimits read_cgroup_limits(const fs::path& membership, const fs::path& mount) {
    CgroupLimits limits;
    const auto read_cpu = [&](const fs::path& group) { read_cpu_limit(group, limits); };
    const auto read_memory = [&](const fs::path& group) { read_memory_limit(group, limits); };

    std::ifstream file(membership);
    std::string line;
    while (std::getline(file, line)) {  // "4:cpu,cpuacct:/docker/abc", or "0::/user.slice"
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string group = line.substr(second + 1);
        if (controllers.empty()) {
            walk_up(mount, group, read_cpu);
            walk_up(mount, group, read_memory);
            continue;
        }
        if (has_controller(controllers, "cpu")) {
            walk_up(mount / controllers, group, read_cpu);
            walk_up(mount / "cpu", group, read_cpu);
        }
        if (has_controller(controllers, "memory")) walk_up(mount / "memory", group, read_memory);
    }
    return limits;
}

}  // namespace isoflop::device
