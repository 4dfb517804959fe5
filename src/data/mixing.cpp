#include "isoflop/data/mixing.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace isoflop::data {
namespace {

__extension__ using Uint128 =
    unsigned __int128;  // exact products, independent of floating-point options of the compiler

/// round(count * share)
std::uint64_t taken_by_left(std::uint64_t count, std::uint64_t share) {
    constexpr Uint128 kHalf = Uint128{1} << 63U;
    return static_cast<std::uint64_t>((Uint128{count} * share + kHalf) >> 64U);
}

std::uint64_t to_share(double fraction) {
    const double scaled = std::ldexp(fraction, 64);
    if (scaled >= 0x1p64) return std::numeric_limits<std::uint64_t>::max();
    return std::max<std::uint64_t>(static_cast<std::uint64_t>(scaled), 1);
}

}  // namespace

MixingSchedule::MixingSchedule(std::span<const double> weights) : num_sources_(weights.size()) {
    struct Tree {
        double weight;
        int reference;
    };
    std::vector<Tree> trees;
    for (std::size_t source = 0; source < weights.size(); ++source) {
        trees.push_back({weights[source], -1 - static_cast<int>(source)});
    }
    // Heaviest first; among equals the earlier source first, which makes the schedule reproducible.
    const auto heavier = [](const Tree& left, const Tree& right) {
        return left.weight > right.weight;
    };
    std::stable_sort(trees.begin(), trees.end(), heavier);
    while (trees.size() > 1) {
        const Tree lightest = trees.back();
        trees.pop_back();
        const Tree second = trees.back();
        trees.pop_back();
        const double weight = lightest.weight + second.weight;
        nodes_.push_back({to_share(second.weight / weight), second.reference, lightest.reference});
        const Tree joined{weight, static_cast<int>(nodes_.size()) - 1};
        trees.insert(std::upper_bound(trees.begin(), trees.end(), joined, heavier), joined);
    }
}

MixingSchedule::Pick MixingSchedule::pick(std::uint64_t sample_index) const {
    int reference = static_cast<int>(nodes_.size()) - 1;  // of no nodes: -1, which is source 0
    std::uint64_t index = sample_index;
    while (reference >= 0) {
        const Node& node = nodes_[static_cast<std::size_t>(reference)];
        const std::uint64_t left_before = taken_by_left(index, node.left_share);
        const bool goes_left = taken_by_left(index + 1, node.left_share) > left_before;
        reference = goes_left ? node.left : node.right;
        index = goes_left ? left_before : index - left_before;
    }
    return {static_cast<std::size_t>(-1 - reference), index};
}

std::vector<std::uint64_t> MixingSchedule::counts(std::uint64_t num_samples) const {
    std::vector<std::uint64_t> result(num_sources_);
    if (nodes_.empty()) {
        if (!result.empty()) result[0] = num_samples;
        return result;
    }
    std::vector<std::uint64_t> node_counts(nodes_.size());
    node_counts.back() = num_samples;
    const auto give = [&](int reference, std::uint64_t count) {
        if (reference >= 0) {
            node_counts[static_cast<std::size_t>(reference)] = count;
        } else {
            result[static_cast<std::size_t>(-1 - reference)] = count;
        }
    };
    for (std::size_t index = nodes_.size(); index-- > 0;) {  // parents come after their children
        const std::uint64_t left = taken_by_left(node_counts[index], nodes_[index].left_share);
        give(nodes_[index].left, left);
        give(nodes_[index].right, node_counts[index] - left);
    }
    return result;
}

}  // namespace isoflop::data
