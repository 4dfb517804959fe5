// The store's protocol: every request but `bye` has one reply, both are a StoreMessage.
//
// A connection begins with proofs that both ends know the key of the job (job_key.hpp): hello,
// challenge, proof, and then the answer to the hello.
//
// On the wire, in network byte order: "IFS2", kind (1 byte), three zero bytes, number (8), length
// of the key (4), length of the value (4), key, value. A change of the protocol changes the digit,
// so that another build is distinguished from foreign bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace isoflop::comm {

enum class MessageKind : std::uint8_t {
    hello = 1,     ///< number: rank, key: host, value: world size and nonce of the client
    set,           ///< key, value
    get,           ///< key, number: milliseconds to wait
    add,           ///< key, number
    bye,           ///< the rank ends normally; no reply
    ok,            ///< value: of a get, number: sum of an add
    config_error,  ///< value: the message
    lost_rank,     ///< number: rank or -1, value: the message
    occupied,      ///< by another run, which may be about to end; value: the message
    challenge,     ///< value: nonce and proof of the server
    proof,         ///< value: proof of the client
};

struct StoreMessage {
    MessageKind kind = MessageKind::ok;
    std::int64_t number = 0;
    std::string key = {};
    std::string value = {};
};

/// The bytes are not a message of this protocol.
class BadMessage : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

inline constexpr std::uint32_t kLargestKey = 4096;
inline constexpr std::uint32_t kLargestValue = 16U << 20U;
/// Limits before the proof, so that a stranger cannot make this end keep more.
struct MessageLimits {
    std::uint32_t key = kLargestKey;
    std::uint32_t value = kLargestValue;
};
inline constexpr MessageLimits kStrangerLimits{.key = 256, .value = 128};

/// Throws std::invalid_argument for a key or value that is too long.
[[nodiscard]] std::string encode(const StoreMessage& message);

/// Takes a message off the front; nullopt when the bytes are the beginning of one. Throws
/// BadMessage as soon as they cannot become one.
[[nodiscard]] std::optional<StoreMessage> take_message(std::string& bytes,
                                                       MessageLimits limits = {});

}  // namespace isoflop::comm
