#include "comm/last_words.hpp"

#include <fmt/format.h>

namespace isoflop::comm {

LastWords::LastWords(int own_rank, std::vector<std::string> names,
                     std::chrono::milliseconds timeout)
    : own_rank_(own_rank),
      names_(std::move(names)),
      timeout_(timeout),
      said_(names_.size(), kSilent) {}

void LastWords::hear(int rank, LastWord word) {
    said_[static_cast<std::size_t>(rank)] = word;
    if (first_speaker_ < 0 && word != kGoodbye && rank != own_rank_) first_speaker_ = rank;
}

bool LastWords::is_certain(int suspect) const {
    const LastWord word = said(follow(suspect).end);
    return closed().has_value() || word == kEnded || word == kGoodbye;
}

Lost LastWords::verdict(int suspect) const {
    if (const std::optional<int> rank = closed())
        return {*rank, name(*rank) + " is lost: it closed its connection"};
    const auto [accuser, end] = follow(suspect);
    if (end == own_rank_)
        return {-1, name(accuser) + " gave up waiting for this one, " + name(end)};
    switch (said(end)) {
        case kGoodbye: return {end, name(end) + " is lost: it has left the group"};
        case kEnded: return {end, name(end) + " has ended the communication"};
        default: break;
    }
    return {end, fmt::format("{} is lost: it has not answered for {:g} s", name(end),
                             std::chrono::duration<double>(timeout_).count())};
}

/// From a rank to the one it waited for, and so on.
LastWords::Chain LastWords::follow(int suspect) const {
    Chain chain{.accuser = suspect, .end = suspect};
    // Two ranks that wait for each other would lead around for ever.
    for (std::size_t steps = 0; steps < said_.size() && said(chain.end) >= 0; ++steps)
        chain = {.accuser = chain.end, .end = static_cast<int>(said(chain.end))};
    return chain;
}

std::optional<int> LastWords::closed() const {
    for (std::size_t rank = 0; rank < said_.size(); ++rank) {
        if (said_[rank] == kClosed) return static_cast<int>(rank);
    }
    return std::nullopt;
}

}  // namespace isoflop::comm
