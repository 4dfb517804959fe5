#include "comm/store_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "isoflop/base/text.hpp"

namespace isoflop::comm {
namespace {

StoreMessage config_error(std::string text) {
    return {.kind = MessageKind::config_error, .value = std::move(text)};
}

StoreMessage lost_rank(int rank, std::string text) {
    return {.kind = MessageKind::lost_rank, .number = rank, .value = std::move(text)};
}

/// Far beyond what ranks exchange.
constexpr std::size_t kMostValues = std::size_t{1} << 18U;
constexpr std::size_t kMostBytes = std::size_t{256} << 20U;

StoreMessage full() {
    return config_error("the store of rank 0 is full");
}

}  // namespace

std::string StoreState::contradiction(int rank, int world_size, std::string_view host) const {
    const auto first = peers_.find(0);
    const std::string rank_0 =
        first == peers_.end() ? "rank 0" : fmt::format("rank 0 on {}", first->second.host);
    if (world_size != world_size_) {
        return fmt::format(
            "the ranks do not agree on their number: rank {} on {} was started as one of {}, {} as "
            "one of {}; start all of them with the same world size",
            rank, host, world_size, rank_0, world_size_);
    }
    if (rank < 0 || rank >= world_size_) {
        return fmt::format("rank {} on {} is not below the world size {}", rank, host, world_size_);
    }
    if (const auto twin = peers_.find(rank); twin != peers_.end()) {
        return fmt::format(
            "rank {} exists twice: on {} and on {}; each process needs a rank of its "
            "own",
            rank, twin->second.host, host);
    }
    return {};
}

StoreMessage StoreState::greet(const StoreMessage& hello) {
    const int rank = static_cast<int>(std::clamp<std::int64_t>(hello.number, -1, 1 << 30));
    int world_size = 0;
    const std::string& digits = hello.value;
    std::from_chars(digits.data(), digits.data() + digits.size(), world_size);
    const bool complete = static_cast<int>(peers_.size()) == world_size_;
    if (complete && (!failure_ || failure_->kind == MessageKind::lost_rank)) {
        return {.kind = MessageKind::occupied,
                .value = fmt::format("a run of {} ranks has this port and has already started; "
                                     "choose another port (MASTER_PORT) for this run",
                                     world_size_)};
    }
    if (const std::string wrong = contradiction(rank, world_size, hello.key); !wrong.empty()) {
        // Ranks that were started with a larger world size will connect too and need the error.
        constexpr int kMostExpected = 1024;
        expected_ = std::clamp(std::max(expected_, world_size), world_size_, kMostExpected);
        if (!failure_) failure_ = config_error(wrong);
    } else {
        peers_[rank].host = hello.key;
    }
    if (failure_) return *failure_;
    return {};
}

std::optional<StoreMessage> StoreState::answer(const StoreMessage& request) {
    if (failure_ && failure_->kind == MessageKind::config_error) return failure_;
    if (request.kind == MessageKind::set) return set(request);
    if (request.kind == MessageKind::add) {
        if (!counters_.contains(request.key) && counters_.size() >= kMostValues) return full();
        // Unsigned, as the numbers of a peer may overflow.
        std::int64_t& sum = counters_[request.key];
        sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) +
                                        static_cast<std::uint64_t>(request.number));
        return StoreMessage{.number = sum};
    }
    if (request.kind != MessageKind::get) throw BadMessage("not a request");
    if (const auto found = values_.find(request.key); found != values_.end()) {
        return StoreMessage{.value = found->second};
    }
    return failure_;  // the failure if no rank can set the key; else empty
}

StoreMessage StoreState::set(const StoreMessage& request) {
    const auto old = values_.find(request.key);
    const std::size_t freed = old == values_.end() ? 0 : old->second.size();
    const std::size_t added =
        request.value.size() + (old == values_.end() ? request.key.size() : 0);
    if (values_.size() - (old == values_.end() ? 0 : 1) >= kMostValues ||
        bytes_ - freed + added > kMostBytes) {
        return full();
    }
    bytes_ = bytes_ - freed + added;
    values_[request.key] = request.value;
    return {};
}

std::string StoreState::absent_ranks(int& first) const {
    constexpr std::size_t kNamed = 8;
    std::vector<std::string> absent;
    first = -1;
    for (int rank = 0; rank < world_size_; ++rank) {
        const auto peer = peers_.find(rank);
        if (peer != peers_.end() && peer->second.here) continue;
        if (first < 0) first = rank;
        if (absent.size() == kNamed) {
            absent.emplace_back("...");
            break;
        }
        absent.push_back(peer == peers_.end()
                             ? fmt::format("rank {} has not connected to {}", rank, endpoint_)
                             : fmt::format("rank {} on {} has ended", rank, peer->second.host));
    }
    return fmt::format("{}", fmt::join(absent, ", "));
}

void StoreState::give_up(const StoreMessage& get) {
    if (failure_) return;
    int first = -1;
    const std::string absent = absent_ranks(first);
    failure_ = lost_rank(
        first,
        fmt::format("waited {} for '{}' of another rank: {}",
                    human_seconds(static_cast<double>(get.number) / 1000.0), get.key,
                    absent.empty() ? "all ranks are connected, but one of them hangs" : absent));
}

void StoreState::leave(int rank, bool orderly) {
    const auto peer = peers_.find(rank);
    if (peer == peers_.end()) return;
    if (static_cast<int>(peers_.size()) < world_size_ && !failure_) {
        peers_.erase(peer);  // it may come again
        return;
    }
    peer->second.here = false;
    if (orderly || failure_) return;
    expected_ = world_size_;
    failure_ = lost_rank(rank, fmt::format("rank {} on {} closed its connection without a word: it "
                                           "crashed or was killed",
                                           rank, peer->second.host));
}

}  // namespace isoflop::comm
