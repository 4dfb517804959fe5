// Facts about this machine and process, from the text files of the system.
#include "isoflop/device/cpu_info.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "device/cgroup.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::device {
namespace {

/// Text after "key<spaces>:" in a file of such lines, trimmed; empty when there is none.
std::string value_of(const char* path, std::string_view key) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos || !line.starts_with(key)) continue;
        if (line.find_last_not_of(" \t", colon - 1) + 1 != key.size()) continue;
        const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
        return begin == std::string::npos ? std::string() : line.substr(begin);
    }
    return {};
}

/// A line of /proc/self/status, "RssAnon:     1234 kB", in bytes; 0 when there is none.
std::uint64_t status_bytes(std::string_view key) {
    const std::string text = value_of("/proc/self/status", key);
    return text.empty() ? 0 : std::strtoull(text.c_str(), nullptr, 10) * 1024;
}

std::uint64_t physical_memory_bytes() {
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_size = sysconf(_SC_PAGE_SIZE);
    if (pages <= 0 || page_size <= 0) return 0;
    return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_size);
}

}  // namespace

CpuInfo cpu_info() {
    CpuInfo info;
    info.model_name = value_of("/proc/cpuinfo", "model name");
    if (info.model_name.empty()) info.model_name = "unknown CPU";
    info.instruction_set = name(active_instruction_set());
    info.num_threads = default_thread_count();
    info.memory_bytes = physical_memory_bytes();
    if (const auto limit = read_cgroup_limits().memory_bytes) {
        info.memory_bytes = std::min(info.memory_bytes, *limit);
    }
    return info;
}

std::uint64_t resident_anonymous_bytes() {
    return status_bytes("RssAnon");
}

}  // namespace isoflop::device
