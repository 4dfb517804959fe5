// One rank as a child process, and the lines that it prints.
#pragma once

#include <csignal>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/file_descriptor.hpp"

namespace isoflop::comm {

/// What a rank prints to one of its streams, on our standard error with its name before each line.
class PrefixedStream {
public:
    PrefixedStream(FileDescriptor pipe, std::string prefix)
        : pipe_(std::move(pipe)), prefix_(std::move(prefix)) {}
    [[nodiscard]] int fd() const { return pipe_.get(); }
    [[nodiscard]] bool is_open() const { return pipe_.is_open(); }
    /// Passes on what has come. Closes at the end, after a last line without its newline.
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
    /// `changes`: variables that differ from our environment. The child gets `signal_mask`.
    RankProcess(int rank, std::span<const std::string> command,
                const std::map<std::string, std::string>& changes, const sigset_t& signal_mask);
    RankProcess(RankProcess&&) = default;
    RankProcess& operator=(RankProcess&&) = delete;
    RankProcess(const RankProcess&) = delete;
    RankProcess& operator=(const RankProcess&) = delete;
    ~RankProcess() = default;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] bool running() const { return !status_.has_value(); }
    /// To the rank and what it has started.
    void signal(int number) const;
    /// Sees whether it has ended; true when it ended just now.
    [[nodiscard]] bool reap();
    /// As waitpid gives it, once it has ended.
    [[nodiscard]] int status() const { return *status_; }
    [[nodiscard]] std::vector<PrefixedStream>& streams() { return streams_; }

private:
    int rank_;
    pid_t pid_ = -1;
    std::optional<int> status_;
    std::vector<PrefixedStream> streams_;
};

}  // namespace isoflop::comm
