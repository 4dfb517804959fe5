// The final reports of the ranks of a group, and which rank is lost according to them.
//
// Every rank sends one report before it closes its connections. A connection that closes without a
// report belongs to a dead rank. After a timeout the reports lead from rank to rank (0 waited for
// 1, 1 waited for 3, 3 has not reported) to the rank that hangs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isoflop::comm {

/// The rank that the reporting rank was waiting for, or one of these.
using FinalReport = std::int64_t;
inline constexpr FinalReport kFinished = -1;          ///< the rank has finished its work
inline constexpr FinalReport kAborted = -2;           ///< the rank ends the communication
inline constexpr FinalReport kNoReport = -3;          ///< no report yet
inline constexpr FinalReport kConnectionClosed = -4;  ///< the connection closed without a report

struct Lost {
    int rank = -1;
    std::string message;
};

class FinalReports {
public:
    /// `names[r]` is the name of rank r in messages: "rank 3 on node7".
    FinalReports(int own_rank, std::vector<std::string> names, std::chrono::milliseconds timeout);

    void record(int rank, FinalReport report);
    /// The first other rank that failed or reported a failure; -1 when there is none.
    [[nodiscard]] int first_failing() const { return first_failing_; }
    [[nodiscard]] const std::string& name(int rank) const {
        return names_[static_cast<std::size_t>(rank)];
    }

    /// A rank whose connection closed without a report.
    [[nodiscard]] std::optional<int> closed_silently() const;
    /// Whether further reports could not change the result of find_lost().
    [[nodiscard]] bool is_certain(int suspect) const;
    /// The lost rank: `suspect`, or the last rank of the chain of ranks that it waited for.
    [[nodiscard]] Lost find_lost(int suspect) const;

private:
    struct Chain {
        int waiting;
        int end;
    };
    [[nodiscard]] Chain follow(int suspect) const;
    [[nodiscard]] FinalReport report_of(int rank) const {
        return reports_[static_cast<std::size_t>(rank)];
    }

    int own_rank_;
    std::vector<std::string> names_;
    std::chrono::milliseconds timeout_;
    std::vector<FinalReport> reports_;
    int first_failing_ = -1;
};

}  // namespace isoflop::comm
