// One rank as a child process, and the lines that it prints.
#pragma once

#include <csignal>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/base/file_descriptor.hpp"

namespace isoflop::comm {

/// Passes the output of a rank on one stream to the standard error of the launcher, with the name
/// of the rank before each line.
class PrefixedStream {
public:
    PrefixedStream(FileDescriptor pipe, std::string prefix)
        : pipe_(std::move(pipe)), prefix_(std::move(prefix)) {}
    [[nodiscard]] int fd() const { return pipe_.get(); }
    [[nodiscard]] bool is_open() const { return pipe_.is_open(); }
    /// Passes on the data that have arrived. Closes at the end, after a last line without its
    /// newline.
    void pump();
    /// The same, and then closes: a process that has escaped may keep the other end open.
    void finish();

private:
    void write_lines(bool all);

    FileDescriptor pipe_;
    std::string prefix_;
    std::string line_;
};

class RankProcess {
public:
    /// `changes`: variables that differ from the launcher's environment. The child gets
    /// `signal_mask`.
    RankProcess(int rank, std::span<const std::string> command,
                const std::map<std::string, std::string>& changes, const sigset_t& signal_mask);
    RankProcess(RankProcess&&) = default;
    RankProcess& operator=(RankProcess&&) = delete;
    RankProcess(const RankProcess&) = delete;
    RankProcess& operator=(const RankProcess&) = delete;
    ~RankProcess() = default;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] bool running() const { return !status_.has_value(); }
    /// Sends the signal to the rank and the processes that it has started.
    void signal(int number) const;
    /// Checks whether the rank has ended; true when this call detected the end.
    [[nodiscard]] bool reap();
    /// The status that waitpid returned. The rank must have ended.
    [[nodiscard]] int status() const { return *status_; }
    [[nodiscard]] std::vector<PrefixedStream>& streams() { return streams_; }

private:
    int rank_;
    pid_t pid_ = -1;
    std::optional<int> status_;
    std::vector<PrefixedStream> streams_;
};

}  // namespace isoflop::comm
