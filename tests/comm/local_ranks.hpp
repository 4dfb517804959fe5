// Runs one function per rank, each in a thread of its own.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {

/// Calls body(rank) for each rank at the same time; rethrows what the lowest rank threw.
template <class Body>
void run_threads(int size, const Body& body) {
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
        threads.emplace_back([&, rank] {
            try {
                body(rank);
            } catch (...) {
                errors[static_cast<std::size_t>(rank)] = std::current_exception();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors) {
        if (error) std::rethrow_exception(error);
    }
}

/// Returns when every rank has called it, after all operations before it.
inline void meet(Communicator& communicator) {
    const double nothing[] = {0};
    (void)communicator.gather_values(nothing);
}

inline constexpr double kTestTimeoutSeconds = 20;

/// Staging as a communicator owns it in the trainer's arena: aligned to more than it needs.
class Staging {
public:
    explicit Staging(std::uint64_t bytes) : storage_((bytes + 7) / 8), bytes_(bytes) {}
    [[nodiscard]] std::span<std::byte> span() {
        return std::as_writable_bytes(std::span(storage_)).first(bytes_);
    }

private:
    std::vector<std::uint64_t> storage_;
    std::uint64_t bytes_;
};

}  // namespace isoflop::comm
