// Messages between the ranks of a group: the interface that the collectives need from a transport.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "isoflop/base/error.hpp"

namespace isoflop::comm {

/// A rank died, hangs or cannot be reached (exit code 4). The message names it.
class LostRank : public Error {
public:
    LostRank(int rank, const std::string& message)
        : Error(ExitCode::lost_rank, message), rank_(rank) {}
    /// Rank in the group; -1 when the lost rank is unknown.
    [[nodiscard]] int rank() const noexcept { return rank_; }

private:
    int rank_;
};

struct Outgoing {
    int to = 0;
    std::span<const std::byte> bytes;
};
struct Incoming {
    int from = 0;
    std::span<std::byte> bytes;
};

/// Used by one thread at a time, except `abort`. Every rank of the group makes the same sequence of
/// exchanges that concern it; messages between two ranks arrive in the order they were sent.
class PointToPoint {
public:
    virtual ~PointToPoint() = default;
    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;

    /// Sends and receives at the same time; returns when all are done. There may be several
    /// messages to and from a peer; they are matched in the given order. Throws LostRank when a
    /// peer closes its connection or the timeout passes without one of them.
    virtual void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives) = 0;

    /// Makes exchanges in progress and later exchanges fail on every rank at once. May be called
    /// from any thread.
    virtual void abort() noexcept = 0;
};

/// The ranks of a group as threads of this process: for tests, and for tools that try a strategy
/// without processes. Element r belongs to rank r.
[[nodiscard]] std::vector<std::unique_ptr<PointToPoint>> make_local_group(int size,
                                                                          double timeout_seconds);

}  // namespace isoflop::comm
