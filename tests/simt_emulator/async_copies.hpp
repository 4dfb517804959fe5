// The cp.async copies of one thread that its waits have not yet completed, in groups as it
// committed them.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

namespace isoflop::emulator {

struct AsyncCopy {
    std::size_t to;  // offset in shared memory
    const std::byte* from;
    std::size_t bytes;         // written
    std::size_t source_bytes;  // read; the rest becomes zero
};

class AsyncCopies {
public:
    void add(const AsyncCopy& copy) { open_.push_back(copy); }
    void commit() {
        groups_.push_back(std::move(open_));
        open_.clear();
    }
    /// The copies that are complete when at most `pending` groups are left.
    std::vector<AsyncCopy> wait_group(std::size_t pending);
    /// Also those that were never committed.
    std::vector<AsyncCopy> wait_all();
    void clear() {
        groups_.clear();
        open_.clear();
    }

private:
    std::deque<std::vector<AsyncCopy>> groups_;  // oldest first
    std::vector<AsyncCopy> open_;
};

}  // namespace isoflop::emulator
