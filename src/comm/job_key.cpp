#include "comm/job_key.hpp"

#include <fmt/format.h>

#include "comm/hmac.hpp"

namespace isoflop::comm {

JobKey JobKey::of(const LaunchInfo& launch) {
    if (!launch.job_token.empty()) return JobKey("token " + launch.job_token);
    return JobKey("name " + launch.job_name);
}

std::string JobKey::proof(std::string_view role,
                          std::initializer_list<std::string_view> parts) const {
    // With their lengths, so that no two lists of parts give the same text.
    std::string text = fmt::format("isoflop {}:{}", role.size(), role);
    for (const std::string_view part : parts) text += fmt::format(" {}:{}", part.size(), part);
    return to_hex(bytes_of(hmac_sha256(bytes_, text)));
}

std::string proof_of_server(const JobKey& key, const StoreMessage& hello,
                            std::string_view server_nonce) {
    return key.proof("server", {hello.value, server_nonce});
}

std::string proof_of_client(const JobKey& key, const StoreMessage& hello,
                            std::string_view server_nonce) {
    return key.proof("client",
                     {hello.value, server_nonce, std::to_string(hello.number), hello.key});
}

std::string make_nonce() {
    return to_hex(random_bytes(kNonceDigits / 2));
}

std::string make_job_token() {
    constexpr std::size_t kTokenBytes = 32;
    return to_hex(random_bytes(kTokenBytes));
}

}  // namespace isoflop::comm
