// Random words for the order of samples. Philox counters are (value, purpose and stream, epoch),
// the key is the seed with the bits of "samples\0" flipped, so that they share no counter with
// initialisation or dropout.
#pragma once

#include <cstdint>

#include "isoflop/base/philox.hpp"

namespace isoflop::data {

inline constexpr std::uint32_t kEpochOffsetPurpose = 255;  // 0 to 7 are rounds of the permutation

[[nodiscard]] constexpr std::uint32_t sample_random(std::uint64_t seed, std::uint32_t stream,
                                                    std::uint64_t epoch, std::uint32_t purpose,
                                                    std::uint32_t value) {
    constexpr std::uint64_t kSamples = 0x73616D706C657300;
    return philox({value, (stream << 8U) | purpose, static_cast<std::uint32_t>(epoch),
                   static_cast<std::uint32_t>(epoch >> 32U)},
                  philox_key(seed ^ kSamples))[0];
}

}  // namespace isoflop::data
