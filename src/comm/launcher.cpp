// One thread: signals arrive through a descriptor, so one poll() waits for ranks that end, for
// their output, for signals and for the time of SIGKILL.
#include "isoflop/comm/launcher.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <system_error>

#include "comm/job_key.hpp"
#include "comm/rank_process.hpp"
#include "comm/socket.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

constexpr int kLostRankCode = static_cast<int>(ExitCode::lost_rank);
constexpr std::array<std::string_view, 6> kOwnOptions{"--nproc-per-node", "--nnodes",
                                                      "--node-rank",      "--master-addr",
                                                      "--master-port",    "--max-restarts"};

void say(const std::string& message) {
    std::fprintf(stderr, "launcher: %s\n", printable_lines(message).c_str());
}

/// Reads signals that would end the launcher from a descriptor, as long as this object exists.
class SignalReader {
public:
    SignalReader() {
        sigset_t set;
        sigemptyset(&set);
        for (const int number : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set, number);
        struct sigaction hangup {};
        // nohup ignores this signal on purpose.
        if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
            sigaddset(&set, SIGHUP);
        }
        // If the parent ignored SIGCHLD, the exit codes of the children would be lost.
        before_sigchld_ = std::signal(SIGCHLD, SIG_DFL);
        (void)::pthread_sigmask(SIG_BLOCK, &set, &before_);
        fd_ = FileDescriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!fd_.is_open()) throw std::system_error(errno, std::generic_category(), "signalfd");
    }
    ~SignalReader() {
        static_cast<void>(next());
        (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        if (before_sigchld_ != SIG_ERR) (void)std::signal(SIGCHLD, before_sigchld_);
    }
    SignalReader(const SignalReader&) = delete;
    SignalReader& operator=(const SignalReader&) = delete;

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const sigset_t& mask_before() const { return before_; }
    /// The next signal that asks the launcher to stop; 0 when there is none. Other signals only end
    /// the poll.
    [[nodiscard]] int next() {
        signalfd_siginfo info{};
        while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
            if (info.ssi_signo != SIGCHLD) return static_cast<int>(info.ssi_signo);
        }
        return 0;
    }

private:
    sigset_t before_{};
    void (*before_sigchld_)(int) = SIG_ERR;
    FileDescriptor fd_;
};

void check(const LauncherOptions& options, std::span<const std::string> command) {
    const auto refuse = [](const std::string& message) { throw ConfigError(message); };
    if (command.empty()) refuse("no command for the ranks");
    const auto at_least = [&](std::string_view name, int value, int lowest) {
        if (value < lowest) refuse(fmt::format("{}={}: at least {}", name, value, lowest));
    };
    at_least("--nproc-per-node", options.nproc_per_node, 1);
    at_least("--nnodes", options.nnodes, 1);
    at_least("--max-restarts", options.max_restarts, 0);
    constexpr int kMostRanks = 1 << 20;
    if (options.nproc_per_node > kMostRanks / options.nnodes) {
        refuse(fmt::format("--nnodes={} x --nproc-per-node={}: more than {} ranks", options.nnodes,
                           options.nproc_per_node, kMostRanks));
    }
    if (options.node_rank < 0 || options.node_rank >= options.nnodes) {
        refuse(fmt::format("--node-rank={}: 0 to {} for --nnodes={}", options.node_rank,
                           options.nnodes - 1, options.nnodes));
    }
    if (options.master_port < 0 || options.master_port > 65535) {
        refuse(fmt::format("--master-port={}: 1 to 65535", options.master_port));
    }
    if (options.nnodes > 1 && (options.master_addr.empty() || options.master_port == 0)) {
        refuse(
            fmt::format("--nnodes={} needs --master-addr, the machine of node 0, and "
                        "--master-port, a free port on it; the same on all nodes",
                        options.nnodes));
    }
}

std::string describe(int status) {
    if (WIFSIGNALED(status)) {
        const int number = WTERMSIG(status);
        return fmt::format("was ended by signal {} ({})", number, ::strsignal(number));
    }
    return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

/// One start of all ranks, from the first to the end of the last.
class Attempt {
public:
    Attempt(const LauncherOptions& options, std::span<const std::string> command,
            SignalReader& signals)
        : options_(options), signals_(signals) {
        try {
            start(command);
        } catch (...) {
            kill_all();
            throw;
        }
    }
    ~Attempt() { kill_all(); }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    /// The exit code of the first failing rank; after a signal, that of a lost rank.
    [[nodiscard]] int run() {
        while (any_running()) {
            wait();
            for (int number = signals_.next(); number != 0; number = signals_.next()) {
                stop_requested_ = true;
                signal_all(number);
            }
            reap();
            if (kill_time_ && Clock::now() >= *kill_time_) {
                signal_all(SIGKILL);
                kill_time_.reset();
            }
        }
        for (RankProcess& process : processes_) {
            for (PrefixedStream& stream : process.streams()) stream.finish();
        }
        return code_;
    }
    /// A signal asked the run to end.
    [[nodiscard]] bool stop_requested() const { return stop_requested_; }

private:
    void start(std::span<const std::string> command) {
        const int port = options_.master_port != 0 ? options_.master_port : free_port();
        const std::string address =
            options_.master_addr.empty() ? "127.0.0.1" : options_.master_addr;
        std::map<std::string, std::string> variables{
            {"WORLD_SIZE", std::to_string(options_.nnodes * options_.nproc_per_node)},
            {"LOCAL_WORLD_SIZE", std::to_string(options_.nproc_per_node)},
            {"MASTER_ADDR", address},
            {"MASTER_PORT", std::to_string(port)},
            {"ISOFLOP_LAUNCHER", "train"}};
        // Launchers on several machines cannot agree on a secret; there it is up to the user.
        const char* token = std::getenv("ISOFLOP_JOB_TOKEN");
        if (options_.nnodes == 1 && (token == nullptr || *token == '\0')) {
            variables["ISOFLOP_JOB_TOKEN"] = make_job_token();
        }
        processes_.reserve(static_cast<std::size_t>(options_.nproc_per_node));
        for (int local = 0; local < options_.nproc_per_node; ++local) {
            const int rank = options_.node_rank * options_.nproc_per_node + local;
            variables["RANK"] = std::to_string(rank);
            variables["LOCAL_RANK"] = std::to_string(local);
            processes_.emplace_back(rank, command, variables, signals_.mask_before());
        }
    }

    [[nodiscard]] bool any_running() const {
        return std::any_of(processes_.begin(), processes_.end(),
                           [](const RankProcess& process) { return process.running(); });
    }

    void signal_all(int number) {
        for (const RankProcess& process : processes_) {
            if (process.running()) process.signal(number);
        }
    }

    void wait() {
        std::vector<pollfd> entries{{.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
        std::vector<PrefixedStream*> streams;
        for (RankProcess& process : processes_) {
            for (PrefixedStream& stream : process.streams()) {
                if (!stream.is_open()) continue;
                entries.push_back({.fd = stream.fd(), .events = POLLIN, .revents = 0});
                streams.push_back(&stream);
            }
        }
        const int timeout = kill_time_ ? poll_milliseconds(*kill_time_) : -1;
        if (::poll(entries.data(), entries.size(), timeout) <= 0) return;
        for (std::size_t index = 0; index < streams.size(); ++index) {
            if (entries[index + 1].revents != 0) streams[index]->pump();
        }
    }

    /// Of ranks that failed together, a rank with its own reason precedes ranks that only detected
    /// the loss of another rank.
    void reap() {
        const RankProcess* failed = nullptr;
        for (RankProcess& process : processes_) {
            if (!process.reap() || process.status() == 0) continue;
            // output before its end
            for (PrefixedStream& stream : process.streams()) stream.pump();
            if (failed == nullptr || code_of(failed->status()) == kLostRankCode) failed = &process;
        }
        if (failed == nullptr || code_ != 0) return;
        code_ = code_of(failed->status());
        const bool others = any_running();
        say(fmt::format("rank {} {}{}", failed->rank(), describe(failed->status()),
                        others ? "; ending the other ranks" : ""));
        signal_all(SIGTERM);
        kill_time_ = Clock::now() + options_.grace;
    }

    [[nodiscard]] static int code_of(int status) {
        return WIFSIGNALED(status) ? kLostRankCode : WEXITSTATUS(status);
    }

    void kill_all() {
        signal_all(SIGKILL);
        for (RankProcess& process : processes_) {
            while (process.running() && !process.reap()) (void)::poll(nullptr, 0, 1);
        }
    }

    const LauncherOptions& options_;
    SignalReader& signals_;
    std::vector<RankProcess> processes_;
    int code_ = 0;
    bool stop_requested_ = false;
    std::optional<Deadline> kill_time_;
};

}  // namespace

int run_ranks(const LauncherOptions& options, std::span<const std::string> command) {
    check(options, command);
    std::vector<std::string> current(command.begin(), command.end());
    SignalReader signals;
    for (int restart = 0;; ++restart) {
        Attempt attempt(options, current, signals);
        const int code = attempt.run();
        if (code != kLostRankCode || attempt.stop_requested() || restart == options.max_restarts) {
            return code;
        }
        say(fmt::format("starting all ranks again from the last checkpoint (restart {} of {})",
                        restart + 1, options.max_restarts));
        if (restart == 0) current.push_back(options.restart_argument);
    }
}

std::vector<std::string> without_launcher_options(std::span<const std::string> arguments) {
    std::vector<std::string> kept;
    for (std::size_t index = 0; index < arguments.size(); ++index) {
        const std::string_view argument = arguments[index];
        std::string name(argument.substr(0, argument.find('=')));
        std::replace(name.begin() + std::min<std::ptrdiff_t>(2, std::ssize(name)), name.end(), '_',
                     '-');
        if (std::find(kOwnOptions.begin(), kOwnOptions.end(), name) == kOwnOptions.end()) {
            kept.emplace_back(argument);
        } else if (argument.find('=') == std::string_view::npos) {
            ++index;  // its value
        }
    }
    return kept;
}

}  // namespace isoflop::comm
