// The store's server on rank 0: one thread, non-blocking sockets.
//
// It knows which ranks have come and which have gone, so an answer that will never come ends the
// waiting at once, with the rank that is to blame. Whoever connects and does not speak the protocol
// is dropped; nothing that comes from the network is trusted with memory or time.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "comm/file_descriptor.hpp"

namespace isoflop::comm {

class StoreServer {
public:
    /// Serves `world_size` ranks on a listening socket. `endpoint` is its name in messages.
    StoreServer(FileDescriptor listener, int world_size, std::string endpoint,
                std::chrono::milliseconds timeout);
    /// Stops, after everybody has been told of a wrong configuration or a few seconds have passed.
    ~StoreServer();
    StoreServer(const StoreServer&) = delete;
    StoreServer& operator=(const StoreServer&) = delete;

private:
    class Thread;
    std::unique_ptr<Thread> thread_;
};

}  // namespace isoflop::comm
