// The client of the store.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/socket.hpp"
#include "comm/store_message.hpp"
#include "comm/store_server.hpp"
#include "isoflop/comm/store.hpp"

namespace isoflop::comm {

/// An address at which rank 0 may listen: host name or address, and port.
struct Endpoint {
    std::string host;
    int port = 0;
    [[nodiscard]] std::string text() const { return endpoint_text(host, port); }
};

class TcpStore : public Store {
public:
    /// Connects to one of the endpoints and sends hello. Rank 0 passes the server, which ends after
    /// this client.
    TcpStore(const LaunchInfo& launch, const std::vector<Endpoint>& endpoints,
             std::chrono::milliseconds timeout, std::unique_ptr<StoreServer> server,
             std::string local_address);
    ~TcpStore() override;
    TcpStore(const TcpStore&) = delete;
    TcpStore& operator=(const TcpStore&) = delete;

    void set(std::string_view key, std::string_view value) override;
    [[nodiscard]] std::string get(std::string_view key) override;
    std::int64_t add(std::string_view key, std::int64_t amount) override;
    [[nodiscard]] std::string local_address() const override { return local_address_; }

private:
    void join(const LaunchInfo& launch, const std::vector<Endpoint>& endpoints);
    enum class Outcome { joined, failed, unknown_name, occupied };
    /// Hello and the proofs of both ends.
    void introduce(const LaunchInfo& launch, const FileDescriptor& socket, std::string& in,
                   Deadline deadline) const;
    [[nodiscard]] Outcome try_endpoint(const LaunchInfo& launch, const Endpoint& endpoint,
                                       Deadline deadline, std::string& error);
    /// Sends a request and returns its answer, which is `ok`: anything else is thrown.
    StoreMessage ask(const StoreMessage& request, Deadline deadline);
    [[nodiscard]] Deadline soon() const { return Clock::now() + timeout_; }

    std::unique_ptr<StoreServer> server_;
    std::mutex mutex_;
    FileDescriptor socket_;
    std::string in_;
    std::string endpoint_;
    std::chrono::milliseconds timeout_;
    std::string local_address_;
};

}  // namespace isoflop::comm
