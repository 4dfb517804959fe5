#include "run_lock.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/stop.hpp"
#include "run_lock_file.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr const char* kName = "run.lock";
/// How long a takeover by another process may last.
constexpr milliseconds kTakeoverTime{5'000};
constexpr milliseconds kPause{100};

std::string text_of(const ProcessIdentity& writer) {
    if (writer.pid == 0) return "an unknown process";
    return fmt::format("process {} on {}", writer.pid, writer.host);
}

[[noreturn]] void refuse(const fs::path& path, const ProcessIdentity& writer) {
    throw ConfigError(
        fmt::format("{}: {} writes this run{}; wait for its end, stop it, or choose another "
                    "run_name",
                    path.parent_path().string(), text_of(writer),
                    writer.since.empty() ? "" : " since " + writer.since));
}

/// Returns when the writer does not renew the file for the time of patience, or has released it.
void wait_for_renewals(const fs::path& path, const LockFile& found, milliseconds patience,
                       const RunLock::Say& say) {
    say(fmt::format(
        "{}: {} has a lock on this run; waiting up to {:g} s to see whether it is "
        "alive",
        path.string(), text_of(found.writer), std::chrono::duration<double>(patience).count()));
    const auto end = Clock::now() + patience;
    while (Clock::now() < end) {
        throw_if_stopped("waiting for the lock of a run");
        std::this_thread::sleep_for(kPause);
        const auto now = read_lock_file(path);
        if (!now) return;
        if (now->renewed_ns != found.renewed_ns || now->writer.nonce != found.writer.nonce) {
            refuse(path, now->writer);
        }
    }
}

/// The right to replace a lock file: of two processes that find a dead writer, one may.
class Takeover {
public:
    Takeover(const fs::path& lock, const ProcessIdentity& self)
        : path_(lock.string() + ".takeover") {
        const auto end = Clock::now() + kTakeoverTime;
        while (!(file_ = create_lock_file(path_, self)).is_open()) {
            const auto other = read_lock_file(path_);
            if (other && liveness_of(path_, other->writer) == Liveness::dead) {
                (void)::unlink(path_.c_str());
            } else if (Clock::now() >= end) {
                throw ConfigError(fmt::format(
                    "{}: {} is about to take over this run; remove this file if it does not exist",
                    path_.string(), other ? text_of(other->writer) : "a process"));
            } else {
                std::this_thread::sleep_for(kPause);
            }
        }
    }
    ~Takeover() { (void)::unlink(path_.c_str()); }
    Takeover(const Takeover&) = delete;
    Takeover& operator=(const Takeover&) = delete;

private:
    fs::path path_;
    FileDescriptor file_;
};

/// Not open when another process was faster.
FileDescriptor replace_lock(const fs::path& path, const LockFile& dead,
                            const ProcessIdentity& self) {
    const Takeover right(path, self);
    const auto now = read_lock_file(path);
    if (!now || now->writer.nonce != dead.writer.nonce || now->renewed_ns != dead.renewed_ns) {
        return {};
    }
    const fs::path mine = fmt::format("{}.{}", path.string(), self.nonce);
    FileDescriptor file = create_lock_file(mine, self);
    if (file.is_open()) rename_path(mine, path);
    return file;
}

/// Creates a folder; false when it exists.
bool make_folder(const fs::path& folder) {
    constexpr mode_t kMode = 0777;  // less the umask
    if (folder.has_parent_path()) make_directories(folder.parent_path());
    if (::mkdir(folder.c_str(), kMode) == 0) return true;
    if (errno != EEXIST) throw_system_error("create", folder, errno);
    return false;
}

}  // namespace

/// Renews the file until the end, and removes it then.
class RunLock::Holder {
public:
    Holder(fs::path path, FileDescriptor file, ProcessIdentity self, milliseconds renewal,
           bool made_folder)
        : path_(std::move(path)),
          file_(std::move(file)),
          self_(std::move(self)),
          renewal_(renewal),
          made_folder_(made_folder),
          thread_([this] { renew(); }) {}
    ~Holder() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
            wake_.notify_all();
        }
        thread_.join();
        look();
        if (!lost_) (void)::unlink(path_.c_str());
        // A run that failed before it wrote anything leaves nothing; a folder with files stays.
        if (made_folder_) (void)::rmdir(path_.parent_path().c_str());
    }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;

    void look() noexcept {
        try {
            const auto now = read_lock_file(path_);
            if (now && now->writer.nonce == self_.nonce) return;
            const std::lock_guard lock(mutex_);
            successor_ = now ? text_of(now->writer) + " has taken over" : "somebody removed";
            lost_ = true;
        } catch (const std::exception&) {
            // A file system that does not answer says nothing about the lock.
        }
    }
    void check() {
        if (!lost_) return;
        const std::lock_guard lock(mutex_);
        throw IoError(
            fmt::format("{}: {} the lock of this run, which this process held; it ends "
                        "without writing",
                        path_.string(), successor_));
    }

private:
    void renew() {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, renewal_, [&] { return ending_; })) {
            lock.unlock();
            look();
            if (!lost_) (void)::futimens(file_.get(), nullptr);
            lock.lock();
        }
    }

    const fs::path path_;
    const FileDescriptor file_;
    const ProcessIdentity self_;
    const milliseconds renewal_;
    const bool made_folder_;
    std::mutex mutex_;  ///< guards the next three members
    std::condition_variable wake_;
    bool ending_ = false;
    std::string successor_;
    std::atomic<bool> lost_ = false;
    std::thread thread_;  ///< last: it uses all of the above
};

RunLock::RunLock() = default;
RunLock::RunLock(RunLock&&) noexcept = default;
RunLock& RunLock::operator=(RunLock&&) noexcept = default;
RunLock::~RunLock() = default;
RunLock::RunLock(std::unique_ptr<Holder> holder) : holder_(std::move(holder)) {}

RunLock RunLock::of_new_folder(const fs::path& folder, Timing timing) {
    if (!make_folder(folder)) return {};
    const ProcessIdentity self = this_process();
    FileDescriptor file = create_lock_file(folder / kName, self);
    if (!file.is_open()) return {};  // another process found the new folder
    return RunLock(
        std::make_unique<Holder>(folder / kName, std::move(file), self, timing.renewal, true));
}

RunLock RunLock::acquire(const fs::path& folder, const Say& say, Timing timing) {
    const bool made = make_folder(folder);
    const fs::path path = folder / kName;
    const ProcessIdentity self = this_process();
    FileDescriptor file;
    while (!(file = create_lock_file(path, self)).is_open()) {
        const auto found = read_lock_file(path);
        if (!found) continue;  // released meanwhile
        const Liveness liveness = liveness_of(path, found->writer);
        if (liveness == Liveness::alive) refuse(path, found->writer);
        if (liveness == Liveness::unknown) {
            wait_for_renewals(path, *found, timing.patience, say);
        }
        file = replace_lock(path, *found, self);
        if (!file.is_open()) continue;  // another process was faster
        say(fmt::format("{}: took over the lock of {}, which has ended without releasing it",
                        path.string(), text_of(found->writer)));
        break;
    }
    return RunLock(std::make_unique<Holder>(path, std::move(file), self, timing.renewal, made));
}

std::string RunLock::writer_of(const fs::path& folder) {
    const fs::path path = folder / kName;
    const auto found = read_lock_file(path);
    if (!found || liveness_of(path, found->writer) == Liveness::dead) return {};
    return fmt::format("{} writes this run{}", text_of(found->writer),
                       found->writer.since.empty() ? "" : " since " + found->writer.since);
}

void RunLock::check() const {
    if (holder_) holder_->check();
}

void RunLock::check_now() const {
    if (!holder_) return;
    holder_->look();
    holder_->check();
}

}  // namespace isoflop::trainer
