// The source of the n-th sample, as a pure function of n: the sources are the leaves of a binary
// tree (lightest joined first, as Huffman), and each node sends its m-th sample left when round(m *
// share) steps up. So after any n samples every source has had its share of n, to within one
// sample, and its own position is known without replaying:
//   |count_i(n) - n w_i| < 1.68 always; 0.5 for two sources
// 1.68 is half the reciprocal Fibonacci constant: ancestors in such a tree weigh at least
// 1, 1, 2, 3, 5, ... times the leaf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace isoflop::data {

class MixingSchedule {
public:
    /// Positive weights, in any unit.
    explicit MixingSchedule(std::span<const double> weights);

    struct Pick {
        std::size_t source = 0;
        std::uint64_t index = 0;  ///< number of earlier samples of this source
    };
    [[nodiscard]] Pick pick(std::uint64_t sample_index) const;

    /// Samples taken from each source by the first `num_samples`.
    [[nodiscard]] std::vector<std::uint64_t> counts(std::uint64_t num_samples) const;

private:
    struct Node {
        std::uint64_t left_share = 0;  ///< in units of 2^-64
        int left = -1;                 ///< a node, or -1 - source
        int right = -1;
    };
    std::vector<Node> nodes_;  ///< the root is the last
    std::size_t num_sources_;
};

}  // namespace isoflop::data
