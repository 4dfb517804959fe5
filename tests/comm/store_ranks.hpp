// Ranks of a store as threads, and connections that speak for themselves.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/job_key.hpp"
#include "comm/socket.hpp"
#include "comm/store_message.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/comm/store.hpp"

namespace isoflop::comm {

using namespace std::chrono_literals;

inline LaunchInfo launch_of(int rank, int world_size, int port) {
    return {.rank = rank,
            .world_size = world_size,
            .local_rank = rank,
            .local_world_size = world_size,
            .master_address = "127.0.0.1",
            .master_port = port,
            .launcher = "torchrun"};
}

/// What became of each rank: "" or its error, "config: ..." or "lost R: ...".
inline std::vector<std::string> run_ranks(int count, const std::function<void(int)>& body) {
    std::vector<std::string> results(static_cast<std::size_t>(count));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < count; ++rank) {
        threads.emplace_back([&, rank] {
            std::string& result = results[static_cast<std::size_t>(rank)];
            try {
                body(rank);
            } catch (const ConfigError& error) {
                result = std::string("config: ") + error.what();
            } catch (const LostRank& error) {
                result = "lost " + std::to_string(error.rank()) + ": " + error.what();
            } catch (const std::exception& error) {
                result = std::string("other: ") + error.what();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    return results;
}

inline std::vector<std::string> run_stores(
    int count, std::chrono::milliseconds timeout,
    const std::function<void(Store&, const LaunchInfo&)>& body) {
    const int port = free_port();
    return run_ranks(count, [&](int rank) {
        const LaunchInfo launch = launch_of(rank, count, port);
        const auto store = open_store(launch, timeout);
        body(*store, launch);
    });
}

/// A connection that speaks for itself.
inline FileDescriptor stranger(int port) {
    std::string error;
    FileDescriptor socket =
        connect_to(resolve("127.0.0.1", port).addresses.at(0), Clock::now() + 1s, error);
    EXPECT_TRUE(socket.is_open()) << error;
    return socket;
}

inline void send_text(const FileDescriptor& socket, std::string_view text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
}

/// The next message on a connection; a `bye` when it ends instead.
inline StoreMessage next_message(const FileDescriptor& socket, std::string& in) {
    for (;;) {
        if (auto message = take_message(in)) return *message;
        std::array<char, 4096> buffer;
        if (!wait_for(socket, POLLIN, Clock::now() + 5s)) break;
        const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (count <= 0) break;
        in.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return {.kind = MessageKind::bye};
}

/// Introduces itself as a rank of the job, with its key; the answer.
inline StoreMessage introduce(const FileDescriptor& socket, const LaunchInfo& launch,
                              const std::string& host) {
    const StoreMessage hello{.kind = MessageKind::hello,
                             .number = launch.rank,
                             .key = host,
                             .value = std::to_string(launch.world_size) + " " + make_nonce()};
    send_text(socket, encode(hello));
    std::string in;
    const StoreMessage challenge = next_message(socket, in);
    EXPECT_EQ(challenge.kind, MessageKind::challenge);
    const std::string nonce = challenge.value.substr(0, kNonceDigits);
    send_text(socket, encode({.kind = MessageKind::proof,
                              .value = proof_of_client(JobKey::of(launch), hello, nonce)}));
    return next_message(socket, in);
}

inline bool is_closed_by_server(const FileDescriptor& socket) {
    if (!wait_for(socket, POLLIN, Clock::now() + 2s)) return false;
    std::array<char, 16> buffer;
    return ::recv(socket.get(), buffer.data(), buffer.size(), 0) <= 0;
}

}  // namespace isoflop::comm
