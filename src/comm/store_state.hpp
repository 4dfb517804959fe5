// State of the server of the store, without sockets: values, ranks and the first failure.
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

    /// Answers a rank that introduces itself. While ranks are still missing, a rank that
    /// contradicts the other ranks is a failure of the whole run; later it belongs to another run
    /// and is rejected.
    [[nodiscard]] StoreMessage greet(const StoreMessage& hello);

    /// Answers a set, get or add; nullopt for a get that has to wait.
    [[nodiscard]] std::optional<StoreMessage> answer(const StoreMessage& request);

    /// A get has reached its timeout: a failure of the run, so that all ranks end with the same
    /// message.
    void give_up(const StoreMessage& get);

    /// The connection of a rank has ended; `orderly`: after a `bye`. While ranks are still missing,
    /// it is as if that rank had never come.
    void leave(int rank, bool orderly);

    /// The answer to every request after a failure.
    [[nodiscard]] const std::optional<StoreMessage>& failure() const { return failure_; }
    /// Records that a rank has received the failure.
    void inform(int rank) { informed_.insert(rank); }
    [[nodiscard]] bool all_informed() const {
        return static_cast<int>(informed_.size()) >= expected_;
    }

private:
    struct Peer {
        std::string host;
        bool here = true;
    };

    [[nodiscard]] StoreMessage set(const StoreMessage& request);
    [[nodiscard]] std::string contradiction(int rank, int world_size, std::string_view host) const;
    [[nodiscard]] std::string absent_ranks(int& first) const;

    int world_size_;
    int expected_ = 0;  ///< ranks that must receive the failure
    std::string endpoint_;
    std::map<int, Peer> peers_;
    std::map<std::string, std::string, std::less<>> values_;
    std::size_t bytes_ = 0;  ///< of values and their keys
    std::map<std::string, std::int64_t, std::less<>> counters_;
    std::optional<StoreMessage> failure_;
    std::set<int> informed_;
};

}  // namespace isoflop::comm
