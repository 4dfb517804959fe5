// The term of one word in ops::checksum, on every device.
#pragma once

#include <cstdint>

namespace isoflop::ops {

/// SplitMix64's finaliser of the word and its place.
[[nodiscard]] constexpr std::uint64_t checksum_term(std::uint32_t word, std::uint64_t index) {
    std::uint64_t x = (index << 32U) + word + 0x9E37'79B9'7F4A'7C15U;
    x = (x ^ (x >> 30U)) * 0xBF58'476D'1CE4'E5B9U;
    x = (x ^ (x >> 27U)) * 0x94D0'49BB'1331'11EBU;
    return x ^ (x >> 31U);
}

}  // namespace isoflop::ops
