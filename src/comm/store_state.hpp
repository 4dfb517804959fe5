// What the store's server knows, without sockets: values, ranks, and what has gone wrong.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "comm/store_message.hpp"

namespace isoflop::comm {

class StoreState {
public:
    StoreState(int world_size, std::string endpoint)
        : world_size_(world_size), endpoint_(std::move(endpoint)) {}

    /// Answers a rank that introduces itself. While ranks are still missing, one that contradicts
    /// the others is a failure of the whole run; later it is somebody else's rank and is sent away.
    [[nodiscard]] StoreMessage greet(const StoreMessage& hello);

    /// Answers a set, get or add; nullopt for a get that has to wait.
    [[nodiscard]] std::optional<StoreMessage> answer(const StoreMessage& request);

    /// A get has waited long enough: a failure of the run, so that all ranks end with one message.
    void give_up(const StoreMessage& get);

    /// The connection of a rank has ended; `orderly`: it had said so.
    void leave(int rank, bool orderly);

    /// What every request gets instead of an answer, once something is wrong.
    [[nodiscard]] const std::optional<StoreMessage>& failure() const { return failure_; }
    /// A rank has heard of the failure.
    void told(int rank) { told_.insert(rank); }
    [[nodiscard]] bool all_told() const { return static_cast<int>(told_.size()) >= expected_; }

private:
    struct Peer {
        std::string host;
        bool here = true;
    };

    [[nodiscard]] std::string contradiction(int rank, int world_size, std::string_view host) const;
    [[nodiscard]] std::string absent_ranks(int& first) const;

    int world_size_;
    int expected_ = 0;  ///< ranks that should hear of a failure
    std::string endpoint_;
    std::map<int, Peer> peers_;
    std::map<std::string, std::string, std::less<>> values_;
    std::map<std::string, std::int64_t, std::less<>> counters_;
    std::optional<StoreMessage> failure_;
    std::set<int> told_;
};

}  // namespace isoflop::comm
