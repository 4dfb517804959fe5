// How many threads may run: the environment variable, else affinity and quota.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "device/cgroup.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/thread_pool.hpp"
#include "isoflop/device/usable_cpus.hpp"

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

/// CPUs that are no more than a number.
std::vector<std::uint32_t> first_cpus(unsigned count) {
    std::vector<std::uint32_t> mask(count / 32U + 1U);
    for (unsigned cpu = 0; cpu < count; ++cpu) mask[cpu / 32U] |= 1U << (cpu % 32U);
    return mask;
}

std::vector<std::uint32_t> affinity_mask() {
#if defined(__linux__)
    // A machine may have more CPUs than cpu_set_t has bits; the kernel says EINVAL until it fits.
    for (int cpus = CPU_SETSIZE; cpus <= (1 << 20); cpus *= 2) {
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
        std::vector<cpu_set_t> set((bytes + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t));
        if (sched_getaffinity(0, bytes, set.data()) != 0) continue;
        std::vector<std::uint32_t> mask;
        for (unsigned cpu = 0; cpu < static_cast<unsigned>(cpus); ++cpu) {
            if (!CPU_ISSET_S(cpu, bytes, set.data())) continue;
            mask.resize(cpu / 32U + 1U);
            mask[cpu / 32U] |= 1U << (cpu % 32U);
        }
        return mask;
    }
#endif
    return first_cpus(std::thread::hardware_concurrency());
}

}  // namespace

int default_thread_count() {
    const char* variable = std::getenv(kVariable);
    if (variable != nullptr && *variable != '\0') return parse_thread_count(variable);
    return std::min(usable_cpus().count(), kMaxThreads);
}

UsableCpus usable_cpus() {
    return {.mask = affinity_mask(), .quota = read_cgroup_limits().cpus};
}

int UsableCpus::count() const {
    int cpus = 0;
    for (const std::uint32_t word : mask) cpus += std::popcount(word);
    if (quota) cpus = std::min(cpus, static_cast<int>(std::min(std::ceil(*quota), 1e6)));
    return std::max(cpus, 1);
}

}  // namespace isoflop::device
