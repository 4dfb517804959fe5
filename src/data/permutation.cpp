#include "isoflop/data/permutation.hpp"

#include <algorithm>
#include <bit>

#include "data/sample_random.hpp"

namespace isoflop::data {
namespace {

constexpr std::uint32_t kRounds = 8;  // even, so that both halves are mixed equally often
constexpr std::uint32_t kFewestBits =
    8;  // small domains are permuted as part of 256 values, which mixes better

constexpr std::uint64_t low_mask(std::uint32_t bits) {
    return (1ULL << bits) - 1;
}

}  // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch,
                         std::uint32_t stream)
    : size_(size), seed_(seed), epoch_(epoch), stream_(stream) {
    const auto needed = static_cast<std::uint32_t>(std::bit_width(size > 0 ? size - 1 : 0));
    const std::uint32_t bits = std::max(needed, kFewestBits);
    low_bits_ = bits / 2;
    high_bits_ = bits - low_bits_;
}

std::uint32_t Permutation::round(std::uint32_t half, std::uint32_t number) const {
    return sample_random(seed_, stream_, epoch_, number, half);
}

// Halves of unequal width: each round changes one half by a function of the other, which any
// function can do and undo, so the whole is a permutation of 2^(low_bits + high_bits) values.
std::uint64_t Permutation::encrypt(std::uint64_t value) const {
    auto low = static_cast<std::uint32_t>(value & low_mask(low_bits_));
    auto high = static_cast<std::uint32_t>(value >> low_bits_);
    for (std::uint32_t number = 0; number < kRounds; number += 2) {
        low ^= round(high, number) & static_cast<std::uint32_t>(low_mask(low_bits_));
        high ^= round(low, number + 1) & static_cast<std::uint32_t>(low_mask(high_bits_));
    }
    return (static_cast<std::uint64_t>(high) << low_bits_) | low;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
    if (size_ <= 1) return 0;
    // The loop ends: the cycle through `index` returns to `index`, which is in range.
    do {
        index = encrypt(index);
    } while (index >= size_);
    return index;
}

}  // namespace isoflop::data
