#include "run_lock_file.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;

namespace {

std::string first_line(const fs::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

struct ProcessState {
    char letter = '?';
    std::uint64_t start = 0;
};

/// From /proc/PID/stat; nullopt without such a process. The name in it may contain anything, so
/// fields count from the last parenthesis: state is the 3rd field, the start time the 22nd.
std::optional<ProcessState> state_of(std::int64_t pid) {
    const std::string text = first_line(fmt::format("/proc/{}/stat", pid));
    const std::size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) return std::nullopt;
    std::istringstream fields(text.substr(name_end + 1));
    ProcessState state;
    fields >> state.letter;
    std::string field;
    for (int number = 4; number < 22; ++number) fields >> field;
    fields >> state.start;
    return fields ? std::optional(state) : std::nullopt;
}

bool runs(const ProcessIdentity& process) {
    const auto state = state_of(process.pid);
    return state && state->start == process.process_start && state->letter != 'Z' &&
           state->letter != 'X';
}

std::string random_text() {
    std::random_device device;
    return fmt::format("{:08x}{:08x}{:08x}{:08x}", device(), device(), device(), device());
}

std::string link_target(const char* path) {
    std::error_code error;
    const fs::path target = fs::read_symlink(path, error);
    return error ? std::string() : target.string();
}

nlohmann::ordered_json to_json(const ProcessIdentity& process) {
    return {{"host", process.host},
            {"pid", process.pid},
            {"since", process.since},
            {"boot", process.boot},
            {"pid_namespace", process.pid_namespace},
            {"process_start", process.process_start},
            {"nonce", process.nonce},
            {"flock", process.has_flock}};
}

ProcessIdentity from_json(const std::string& text) {
    try {
        const auto json = config::parse_json(text);
        return {.host = json.at("host").get<std::string>(),
                .pid = json.at("pid").get<std::int64_t>(),
                .since = json.at("since").get<std::string>(),
                .boot = json.at("boot").get<std::string>(),
                .pid_namespace = json.at("pid_namespace").get<std::string>(),
                .process_start = json.at("process_start").get<std::uint64_t>(),
                .nonce = json.at("nonce").get<std::string>(),
                .has_flock = json.at("flock").get<bool>()};
    } catch (const config::JsonFault&) {
        return {};  // not written yet, or by something else
    } catch (const nlohmann::json::exception&) {
        return {};  // not written yet, or by something else
    }
}

/// A lock file is small; more of another file is not read.
std::string read_some(const FileDescriptor& file, const fs::path& path) {
    std::array<char, 4096> buffer{};
    std::string text;
    while (text.size() < buffer.size()) {
        const ssize_t count = ::read(file.get(), buffer.data(), buffer.size() - text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw_system_error("read", path, errno);
        if (count == 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
}

/// Whether a process of this machine, or of any machine that shares the file, holds its flock;
/// unknown when this process may not read the file or the file system has no such locks.
Liveness liveness_by_flock(const fs::path& path) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file.is_open()) return Liveness::unknown;
    if (::flock(file.get(), LOCK_SH | LOCK_NB) == 0) return Liveness::dead;
    return errno == EWOULDBLOCK ? Liveness::alive : Liveness::unknown;
}

}  // namespace

ProcessIdentity this_process() {
    std::array<char, HOST_NAME_MAX + 1> host{};
    const bool named = ::gethostname(host.data(), host.size() - 1) == 0;
    const auto state = state_of(::getpid());
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    return {.host = named ? host.data() : "unknown host",
            .pid = ::getpid(),
            .since = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(now)),
            .boot = first_line("/proc/sys/kernel/random/boot_id"),
            .pid_namespace = link_target("/proc/self/ns/pid"),
            .process_start = state ? state->start : 0,
            .nonce = random_text()};
}

std::optional<LockFile> read_lock_file(const fs::path& path) {
    // Opened anew for each look: NFS then asks the server.
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file.is_open()) {
        if (errno == ENOENT) return std::nullopt;
        throw_system_error("read", path, errno);
    }
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw_system_error("read", path, errno);
    if (!S_ISREG(status.st_mode)) {
        throw IoError(fmt::format("cannot read '{}': not a file", path.string()));
    }
    constexpr std::int64_t kNanoseconds = 1'000'000'000;
    return LockFile{.writer = from_json(read_some(file, path)),
                    .renewed_ns = status.st_mtim.tv_sec * kNanoseconds + status.st_mtim.tv_nsec};
}

FileDescriptor create_lock_file(const fs::path& path, ProcessIdentity writer) {
    constexpr mode_t kMode = 0644;
    FileDescriptor file(
        ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, kMode));
    if (!file.is_open()) {
        if (errno == EEXIST) return {};
        throw_system_error("create", path, errno);
    }
    writer.has_flock = ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
    const std::string text =
        to_json(writer).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    try {
        write_all(file, std::as_bytes(std::span(text)), path);
        synchronize(file, path);
    } catch (const IoError&) {
        (void)::unlink(path.c_str());
        throw;
    }
    return file;
}

Liveness liveness_of(const fs::path& path, const ProcessIdentity& writer) {
    const ProcessIdentity self = this_process();
    const bool same_machine = !writer.boot.empty() && writer.boot == self.boot;
    if (same_machine && writer.pid_namespace == self.pid_namespace) {
        return runs(writer) ? Liveness::alive : Liveness::dead;
    }
    const Liveness by_flock = writer.has_flock ? liveness_by_flock(path) : Liveness::unknown;
    // Not every file system shows the locks of one machine to the others.
    return by_flock == Liveness::dead && !same_machine ? Liveness::unknown : by_flock;
}

}  // namespace isoflop::trainer
