// Which elements dropout keeps: the contract between the devices and between forward and backward.
//
//   key     = first two words of philox({step low, step high, layer, site}, seed)
//   counter = {h / 4, position in sequence, global sequence low, global sequence high}
//   element h is kept when word h mod 4 of philox(counter, key) >= floor(probability * 2^32)
#pragma once

#include <cstdint>

#include "isoflop/base/philox.hpp"
#include "isoflop/ops/dropout.hpp"

namespace isoflop::ops {

/// Elements that one call of the generator decides.
inline constexpr std::int64_t kDropoutGroup = 4;

[[nodiscard]] constexpr PhiloxKey dropout_stream(const DropoutKey& key) {
    const PhiloxCounter words =
        philox({static_cast<std::uint32_t>(key.step), static_cast<std::uint32_t>(key.step >> 32U),
                key.layer, static_cast<std::uint32_t>(key.site)},
               philox_key(key.seed));
    return {words[0], words[1]};
}

[[nodiscard]] constexpr std::uint32_t dropout_threshold(double probability) {
    return static_cast<std::uint32_t>(probability * 0x1.0p32);
}

}  // namespace isoflop::ops
