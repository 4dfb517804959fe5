// One run, one writer: run.lock in the folder of a run names the process that writes there.
//
// The file is created exclusively, which holds on shared file systems too, and names host, process
// and start. Its writer also locks it with flock, where the file system has that, and renews its
// time every few seconds. Whether the writer is alive follows, in this order, from the list of
// processes (same machine and process namespace), from flock (same machine, or file systems that
// share locks), and from the renewals: a writer on another machine that does not renew the file for
// `patience` counts as dead. The lock of a dead writer is taken over. A writer that was only
// suspended notices that at its next renewal, and before every checkpoint, and ends.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace isoflop::trainer {

class RunLock {
public:
    struct Timing {
        std::chrono::milliseconds renewal{5'000};
        std::chrono::milliseconds patience{45'000};
    };
    using Say = std::function<void(const std::string&)>;

    /// Holds nothing.
    RunLock();
    RunLock(RunLock&&) noexcept;
    RunLock& operator=(RunLock&&) noexcept;
    RunLock(const RunLock&) = delete;
    RunLock& operator=(const RunLock&) = delete;
    /// Releases.
    ~RunLock();

    /// Creates a folder that must not exist, and its lock; holds nothing when it exists.
    [[nodiscard]] static RunLock of_new_folder(const std::filesystem::path& folder, Timing timing);
    /// The lock of a folder, which is created where it is missing. `say` gets notes for the user.
    /// Throws ConfigError that names the process that holds it.
    [[nodiscard]] static RunLock acquire(const std::filesystem::path& folder, const Say& say,
                                         Timing timing);
    /// Such as "process 4711 on node0 writes this run since 2026-01-31 12:00:00 UTC"; empty when no
    /// process is known to.
    [[nodiscard]] static std::string writer_of(const std::filesystem::path& folder);

    [[nodiscard]] bool held() const { return holder_ != nullptr; }
    /// Throws IoError once a renewal has found that another process has taken over.
    void check() const;
    /// The same, and looks now.
    void check_now() const;

private:
    class Holder;
    explicit RunLock(std::unique_ptr<Holder> holder);
    std::unique_ptr<Holder> holder_;
};

}  // namespace isoflop::trainer
