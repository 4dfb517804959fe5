// How many threads may run: the environment variable, else affinity and quota.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "device/cgroup.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/thread_pool.hpp"

namespace isoflop::device {
namespace {

constexpr const char* kVariable = "ISOFLOP_NUM_THREADS";
constexpr int kMaxThreads = 1024;

int parse_thread_count(std::string_view text) {
    int count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (!whole || count < 1 || count > kMaxThreads) {
        throw ConfigError(
            fmt::format("environment variable {}: '{}' is not a number of threads; "
                        "allowed are 1 to {}",
                        kVariable, text, kMaxThreads));
    }
    return count;
}

int cpus_of_affinity() {
#if defined(__linux__)
    // A machine may have more CPUs than cpu_set_t has bits; the kernel says EINVAL until it fits.
    for (int cpus = CPU_SETSIZE; cpus <= (1 << 20); cpus *= 2) {
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
        std::vector<cpu_set_t> set((bytes + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t));
        if (sched_getaffinity(0, bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
    }
#endif
    return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int default_thread_count() {
    const char* variable = std::getenv(kVariable);
    if (variable != nullptr && *variable != '\0') return parse_thread_count(variable);
    int count = cpus_of_affinity();
    if (const auto quota = read_cgroup_limits().cpus) {
        count = std::min(count, static_cast<int>(std::min(std::ceil(*quota), 1e6)));
    }
    return std::clamp(count, 1, kMaxThreads);
}

}  // namespace isoflop::device
