// A pseudo-random permutation of 0 .. size-1 that needs no memory: a Feistel network over the next
// power of two, applied until the value is in range (Black and Rogaway 2002, "Ciphers with
// arbitrary finite domains"). The n-th window of an epoch is therefore a formula, and resuming
// needs no state.
#pragma once

#include <cstdint>

namespace isoflop::data {

class Permutation {
public:
    /// `stream` distinguishes the permutations of different sources.
    Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch,
                std::uint32_t stream = 0);

    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// The value at `index`, which must be below size().
    [[nodiscard]] std::uint64_t operator()(std::uint64_t index) const;

private:
    [[nodiscard]] std::uint64_t encrypt(std::uint64_t value) const;
    [[nodiscard]] std::uint32_t round(std::uint32_t half, std::uint32_t number) const;

    std::uint64_t size_;
    std::uint64_t seed_;
    std::uint64_t epoch_;
    std::uint32_t stream_;
    std::uint32_t low_bits_;
    std::uint32_t high_bits_;
};

}  // namespace isoflop::data
