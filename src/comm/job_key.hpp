// The key of a job, and the proofs by which two processes convince each other that they know it.
//
// Each end sends a nonce, and answers the nonce of the other end with the HMAC of both nonces, its
// own role and the facts it claims. A recorded proof is worth nothing later, and the proof of one
// role does not serve the other. What follows on the connection is neither signed nor encrypted.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "comm/store_message.hpp"
#include "isoflop/comm/launch.hpp"

namespace isoflop::comm {

class JobKey {
public:
    explicit JobKey(std::string bytes) : bytes_(std::move(bytes)) {}
    /// From the token of the job; without one from its name, which keeps jobs apart but no
    /// stranger out.
    [[nodiscard]] static JobKey of(const LaunchInfo& launch);

    /// 64 hexadecimal digits over all parts, in this order.
    [[nodiscard]] std::string proof(std::string_view role,
                                    std::initializer_list<std::string_view> parts) const;

private:
    std::string bytes_;
};

/// Proofs for a connection to the store. The nonce of the client is the end of the hello's value.
[[nodiscard]] std::string proof_of_server(const JobKey& key, const StoreMessage& hello,
                                          std::string_view server_nonce);
[[nodiscard]] std::string proof_of_client(const JobKey& key, const StoreMessage& hello,
                                          std::string_view server_nonce);

inline constexpr std::size_t kNonceDigits = 32;
inline constexpr std::size_t kProofDigits = 64;
[[nodiscard]] std::string make_nonce();

/// A token that nobody can guess.
[[nodiscard]] std::string make_job_token();

}  // namespace isoflop::comm
