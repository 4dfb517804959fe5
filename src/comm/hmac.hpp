// SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), for the few short texts by which ranks prove
// that they know the token of their job.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace isoflop::comm {

using Digest = std::array<std::uint8_t, 32>;

[[nodiscard]] Digest sha256(std::string_view text);
[[nodiscard]] Digest hmac_sha256(std::string_view key, std::string_view text);

/// Bytes of a digest, for messages.
[[nodiscard]] std::string bytes_of(const Digest& digest);

/// Takes the same time wherever the first difference is.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);

/// Random bytes from the system, which no other process can guess.
[[nodiscard]] std::string random_bytes(std::size_t count);
[[nodiscard]] std::string to_hex(std::string_view bytes);

}  // namespace isoflop::comm
