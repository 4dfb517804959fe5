// The store's server on rank 0: one thread, non-blocking sockets.
//
// It knows which ranks are connected and which have left, so a wait for a value that no rank can
// set ends at once, with the name of the missing rank. A client is a rank once it has proved that
// it knows the key of the job; until then it changes nothing. A client that does not use the
// protocol is disconnected. Memory and time per connection are limited, and strangers, of which
// there may be kSpareConnections, make room for new connections.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "comm/job_key.hpp"
#include "isoflop/base/file_descriptor.hpp"

namespace isoflop::comm {

class StoreServer {
public:
    /// Serves `world_size` ranks on a listening socket. `endpoint` is its name in messages.
    StoreServer(FileDescriptor listener, int world_size, std::string endpoint, JobKey key,
                std::chrono::milliseconds timeout);
    /// Stops, after all ranks have received a configuration error or a few seconds have passed.
    ~StoreServer();
    StoreServer(const StoreServer&) = delete;
    StoreServer& operator=(const StoreServer&) = delete;

private:
    class Thread;
    std::unique_ptr<Thread> thread_;
};

}  // namespace isoflop::comm
