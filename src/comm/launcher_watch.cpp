#include "isoflop/comm/launcher_watch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "isoflop/base/stop.hpp"

namespace isoflop::comm {
namespace {

constexpr std::chrono::milliseconds kInterval{500};
/// Programs that stand between a launcher and a rank: `mpirun -n 4 sh -c "numactl train ..."`.
constexpr std::array<std::string_view, 24> kBetween{
    "sh",   "bash",   "dash",   "zsh",     "ksh",     "ash",     "busybox", "env",
    "nice", "nohup",  "setsid", "taskset", "numactl", "timeout", "time",    "stdbuf",
    "chrt", "ionice", "nsys",   "ncu",     "perf",    "strace",  "gdb",     "valgrind.bin"};
constexpr std::size_t kMostBetween = 8;

struct Process {
    pid_t pid = 0;
    pid_t parent = 0;
    std::string name;
    char state = '?';
    std::uint64_t start = 0;  ///< in ticks after the boot: process ids are used again
};

/// From /proc/PID/stat: "PID (NAME) STATE PARENT ...", with the start time in the 22nd field.
std::optional<Process> read_process(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text;
    std::getline(file, text);
    const std::size_t name_begin = text.find('(');
    const std::size_t name_end = text.rfind(')');
    if (name_begin == std::string::npos || name_end == std::string::npos) return std::nullopt;
    Process process{.pid = pid, .name = text.substr(name_begin + 1, name_end - name_begin - 1)};
    std::istringstream fields(text.substr(name_end + 1));
    fields >> process.state >> process.parent;
    std::string field;
    for (int number = 5; number < 22; ++number) fields >> field;
    fields >> process.start;
    return fields ? std::optional(process) : std::nullopt;
}

bool still_runs(const Process& process) {
    const auto now = read_process(process.pid);
    return now && now->start == process.start && now->state != 'Z' && now->state != 'X';
}

/// From the parent of this process up to its launcher. Process 1 does not end before its children.
std::vector<Process> processes_up_to_launcher() {
    std::vector<Process> chain;
    pid_t pid = ::getppid();
    while (pid > 1 && chain.size() < kMostBetween) {
        auto process = read_process(pid);
        if (!process) break;
        const bool between =
            std::find(kBetween.begin(), kBetween.end(), process->name) != kBetween.end();
        pid = process->parent;
        chain.push_back(*std::move(process));
        if (!between) break;
    }
    return chain;
}

/// Variables such as RANK may be set by hand, where the parent is a shell that may well end.
bool has_launcher(const LaunchInfo& launch) {
    if (launch.launcher == "torchrun") return !launch.job_name.empty();
    return launch.launcher != "none";
}

}  // namespace

class LauncherWatch::Thread {
public:
    explicit Thread(std::vector<Process> processes)
        : processes_(std::move(processes)), thread_([this] { run(); }) {}
    ~Thread() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
            wake_.notify_all();
        }
        thread_.join();
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, kInterval, [&] { return ending_; })) {
            const auto gone = std::find_if_not(processes_.begin(), processes_.end(), still_runs);
            if (gone == processes_.end()) continue;
            std::fprintf(stderr, "note: process %d, which launched this rank, has ended\n",
                         static_cast<int>(gone->pid));
            request_stop();
            return;
        }
    }

    const std::vector<Process> processes_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ending_ = false;
    std::thread thread_;  ///< last: it uses all of the above
};

LauncherWatch::LauncherWatch(const LaunchInfo& launch) {
    if (!has_launcher(launch)) return;
    std::vector<Process> processes = processes_up_to_launcher();
    if (!processes.empty()) thread_ = std::make_unique<Thread>(std::move(processes));
}

LauncherWatch::~LauncherWatch() = default;

}  // namespace isoflop::comm
