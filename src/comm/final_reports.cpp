#include "comm/final_reports.hpp"

#include <fmt/format.h>

namespace isoflop::comm {

FinalReports::FinalReports(int own_rank, std::vector<std::string> names,
                           std::chrono::milliseconds timeout)
    : own_rank_(own_rank),
      names_(std::move(names)),
      timeout_(timeout),
      reports_(names_.size(), kNoReport) {}

void FinalReports::record(int rank, FinalReport report) {
    reports_[static_cast<std::size_t>(rank)] = report;
    if (first_failing_ < 0 && report != kFinished && rank != own_rank_) first_failing_ = rank;
}

bool FinalReports::is_certain(int suspect) const {
    const FinalReport report = report_of(follow(suspect).end);
    return closed_silently().has_value() || report == kAborted || report == kFinished;
}

Lost FinalReports::find_lost(int suspect) const {
    if (const std::optional<int> rank = closed_silently())
        return {*rank, name(*rank) + " is lost: it closed its connection"};
    const auto [waiting, end] = follow(suspect);
    if (end == own_rank_)
        return {-1, name(waiting) + " gave up waiting for this one, " + name(end)};
    switch (report_of(end)) {
        case kFinished: return {end, name(end) + " is lost: it has left the group"};
        case kAborted: return {end, name(end) + " has ended the communication"};
        default: break;
    }
    return {end, fmt::format("{} is lost: it has not answered for {:g} s", name(end),
                             std::chrono::duration<double>(timeout_).count())};
}

/// Follows the reports from a rank to the rank that it waited for, until the end of the chain.
FinalReports::Chain FinalReports::follow(int suspect) const {
    Chain chain{.waiting = suspect, .end = suspect};
    // Two ranks that wait for each other would give an endless chain.
    for (std::size_t steps = 0; steps < reports_.size() && report_of(chain.end) >= 0; ++steps)
        chain = {.waiting = chain.end, .end = static_cast<int>(report_of(chain.end))};
    return chain;
}

std::optional<int> FinalReports::closed_silently() const {
    for (std::size_t rank = 0; rank < reports_.size(); ++rank) {
        if (reports_[rank] == kConnectionClosed) return static_cast<int>(rank);
    }
    return std::nullopt;
}

}  // namespace isoflop::comm
