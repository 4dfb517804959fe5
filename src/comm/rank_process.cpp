#include "comm/rank_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "isoflop/base/printable.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): not in every libc's header

namespace isoflop::comm {
namespace {

/// A line without an end is passed on in pieces.
constexpr std::size_t kLongestLine = 64 * 1024;
constexpr int kCannotStart = 127;  // the code that shells use

struct Pipe {
    FileDescriptor read;
    FileDescriptor write;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    Pipe pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
    (void)::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
    return pipe;
}

void write_to_stderr(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written < 0 && errno != EINTR) return;  // no process reads standard error
        if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
    }
}

std::vector<std::string> changed_environment(const std::map<std::string, std::string>& changes) {
    std::vector<std::string> variables;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        if (!changes.contains(std::string(text.substr(0, text.find('='))))) {
            variables.emplace_back(text);
        }
    }
    for (const auto& [name, value] : changes)
        variables.push_back(std::string(name).append("=").append(value));
    return variables;
}

/// Null-terminated, as exec requires; valid as long as the texts are.
std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

/// Everything that the child needs, made before fork: after it only simple calls are safe.
struct ChildPlan {
    char* const* arguments;
    char* const* environment;
    const sigset_t* signal_mask;
    int out;  ///< -1: the launcher's
    int err;
    pid_t parent;
};

[[noreturn]] void become_rank(const ChildPlan& plan) {
    // A separate process group, so that Ctrl-C in the terminal reaches the child once, through the
    // launcher.
    (void)::setpgid(0, 0);
    // When the launcher is killed, the rank saves a checkpoint and ends, as after any SIGTERM.
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != plan.parent) ::_exit(kCannotStart);  // it died before prctl
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (nothing >= 0) (void)::dup2(nothing, STDIN_FILENO);
    if (plan.out >= 0) (void)::dup2(plan.out, STDOUT_FILENO);
    (void)::dup2(plan.err, STDERR_FILENO);
    (void)::signal(SIGPIPE, SIG_DFL);
    (void)::sigprocmask(SIG_SETMASK, plan.signal_mask, nullptr);
    ::execvpe(plan.arguments[0], plan.arguments, plan.environment);
    constexpr std::string_view kMessage = "cannot start this program\n";
    (void)!::write(STDERR_FILENO, kMessage.data(), kMessage.size());
    ::_exit(kCannotStart);
}

}  // namespace

void PrefixedStream::pump() {
    std::array<char, 65536> buffer{};
    while (pipe_.is_open()) {
        const ssize_t count = ::read(pipe_.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) break;
        if (count <= 0) {
            pipe_.close();
        } else {
            line_.append(buffer.data(), static_cast<std::size_t>(count));
        }
        write_lines(!pipe_.is_open());
    }
}

void PrefixedStream::finish() {
    pump();
    pipe_.close();
    write_lines(true);
}

void PrefixedStream::write_lines(bool all) {
    std::string text;
    std::size_t begin = 0;
    while (begin < line_.size()) {
        std::size_t end = line_.find('\n', begin);
        if (end == std::string::npos && !all && line_.size() - begin < kLongestLine) break;
        end = std::min(end, line_.size());
        text += prefix_;
        text += printable_lines(std::string_view(line_).substr(begin, end - begin));
        text += '\n';
        begin = end + 1;
    }
    line_.erase(0, std::min(begin, line_.size()));
    write_to_stderr(text);  // whole lines at once, so that those of two ranks do not mix
}

RankProcess::RankProcess(int rank, std::span<const std::string> command,
                         const std::map<std::string, std::string>& changes,
                         const sigset_t& signal_mask)
    : rank_(rank) {
    std::vector<std::string> argument_texts(command.begin(), command.end());
    std::vector<std::string> variable_texts = changed_environment(changes);
    const std::vector<char*> arguments = pointers(argument_texts);
    const std::vector<char*> variables = pointers(variable_texts);
    Pipe err = make_pipe();
    Pipe out;
    if (rank != 0) out = make_pipe();
    const ChildPlan plan{.arguments = arguments.data(),
                         .environment = variables.data(),
                         .signal_mask = &signal_mask,
                         .out = out.write.get(),
                         .err = err.write.get(),
                         .parent = ::getpid()};
    pid_ = ::fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) become_rank(plan);
    (void)::setpgid(pid_, pid_);  // here too, as the first signal may come before the child's
    const std::string prefix = fmt::format("[rank {}] ", rank);
    streams_.emplace_back(std::move(err.read), prefix);
    if (rank != 0) streams_.emplace_back(std::move(out.read), prefix);
}

void RankProcess::signal(int number) const {
    (void)::kill(-pid_, number);
}

bool RankProcess::reap() {
    if (!running()) return false;
    siginfo_t info{};
    const int seen = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (seen == 0 && info.si_pid == 0) return false;
    if (seen != 0 && errno == EINTR) return false;
    // processes that it has left behind; the process id is not reused before waitpid
    signal(SIGKILL);
    int status = 0;
    // When another wait has collected the child, its result is unknown and counts as a failure.
    status_ = ::waitpid(pid_, &status, 0) == pid_ ? status : SIGKILL;
    return true;
}

}  // namespace isoflop::comm
