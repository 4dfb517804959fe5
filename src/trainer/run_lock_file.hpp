// The content of run.lock, and whether the process that it names is alive. Internal to the lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "isoflop/base/file_descriptor.hpp"

namespace isoflop::trainer {

/// A process, distinguished from all others on all machines.
struct ProcessIdentity {
    std::string host = {};
    std::int64_t pid = 0;
    std::string since = {};           ///< for people
    std::string boot = {};            ///< of the machine; equal only on the same kernel
    std::string pid_namespace = {};   ///< process ids mean nothing in another one
    std::uint64_t process_start = 0;  ///< in ticks after the boot: a process id may be used again
    std::string nonce = {};           ///< random
    bool has_flock = false;           ///< the file system could lock the file
};

[[nodiscard]] ProcessIdentity this_process();

struct LockFile {
    ProcessIdentity writer = {};
    std::int64_t renewed_ns = 0;  ///< modification time
};

/// nullopt when there is none. A file that cannot be understood has a writer without a process.
[[nodiscard]] std::optional<LockFile> read_lock_file(const std::filesystem::path& path);

/// Creates it with `writer` as content and keeps it locked; not open when the file exists.
[[nodiscard]] FileDescriptor create_lock_file(const std::filesystem::path& path,
                                              ProcessIdentity writer);

enum class Liveness { alive, dead, unknown };
[[nodiscard]] Liveness liveness_of(const std::filesystem::path& path,
                                   const ProcessIdentity& writer);

}  // namespace isoflop::trainer
