// isoflop/base/philox.hpp for kernels: the same numbers to the bit. The functions of std::array are
// not there on a GPU.
#pragma once

#include <cstdint>

#include "isoflop/base/philox.hpp"
#include "isoflop/device/cuda/simt.hpp"

namespace isoflop::ops::cuda {

struct PhiloxWords {
    std::uint32_t words[4];
};

struct PhiloxKeyWords {
    std::uint32_t words[2];
};

[[nodiscard]] inline PhiloxKeyWords key_words(const PhiloxKey& key) {
    return {{key[0], key[1]}};
}

SIMT_DEVICE PhiloxWords philox_words(PhiloxWords counter, PhiloxKeyWords key) {
    constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
    constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
    constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
    constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = kMultiplier0 * counter.words[0];
        const std::uint64_t product1 = kMultiplier1 * counter.words[2];
        counter = {{static_cast<std::uint32_t>(product1 >> 32U) ^ counter.words[1] ^ key.words[0],
                    static_cast<std::uint32_t>(product1),
                    static_cast<std::uint32_t>(product0 >> 32U) ^ counter.words[3] ^ key.words[1],
                    static_cast<std::uint32_t>(product0)}};
        key.words[0] += kWeyl0;
        key.words[1] += kWeyl1;
    }
    return counter;
}

}  // namespace isoflop::ops::cuda
