// The ranges of the model state that an optimizer keeps a state for.
#include "isoflop/cost/state_coverage.hpp"

#include <gtest/gtest.h>

#include <random>

namespace isoflop::cost {
namespace {

ElementRanges ranges_of(const std::vector<ElementRange>& list) {
    ElementRanges ranges;
    for (const ElementRange& range : list) ranges.add(range);
    return ranges;
}

TEST(ElementRanges, CountWhatLiesInFront) {
    const ElementRanges ranges = ranges_of({{2, 5}, {7, 9}, {9, 12}});
    const std::vector<std::uint64_t> expected = {0, 0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 8};
    for (std::uint64_t element = 0; element < expected.size(); ++element)
        EXPECT_EQ(ranges.before(element), expected[element]) << element;
    EXPECT_EQ(ElementRanges().before(7), 0U);
}

TEST(ElementRanges, ThatOverlapCountOnce) {
    EXPECT_EQ(ranges_of({{0, 256}, {128, 384}, {128, 256}}).before(1000), 384U);
}

TEST(ElementRanges, AreCutAtLimits) {
    const std::vector<ElementRange> found = ranges_of({{2, 5}, {7, 9}, {20, 30}}).within({4, 21});
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0].begin, 4U);
    EXPECT_EQ(found[0].end, 5U);
    EXPECT_EQ(found[2].begin, 20U);
    EXPECT_EQ(found[2].end, 21U);
    EXPECT_TRUE(ranges_of({{2, 5}}).within({5, 9}).empty());
}

TEST(ElementRanges, LargestPartIsThatOfAllParts) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 300; ++round) {
        ElementRanges ranges;
        std::uint64_t end = random() % 20;
        for (int i = 0; i < 6; ++i) {
            const std::uint64_t begin = end + random() % 60;
            end = begin + 1 + random() % 90;
            ranges.add({begin, end});
        }
        for (const std::uint64_t parts : {1, 2, 3, 8, 60}) {
            const std::uint64_t first = random() % 50;
            const ElementRange whole{first, first + parts * (1 + random() % 40)};
            const std::uint64_t size = (whole.end - whole.begin) / parts;
            std::uint64_t most = 0;
            for (std::uint64_t part = 0; part < parts; ++part) {
                const std::uint64_t begin = first + part * size;
                most = std::max(most, ranges.before(begin + size) - ranges.before(begin));
            }
            EXPECT_EQ(ranges.largest_part(whole, static_cast<std::int64_t>(parts)), most);
        }
    }
}

constexpr bool is_key(const model::TensorSpec& tensor) {
    return tensor.name == "self_attn.k_proj.weight";
}

// q, k and v stand directly behind each other: the keys begin and end between two multiples of the
// alignment.
TEST(StateCoverage, OfATensorOfAFusedProductIsWidenedToTheAlignment) {
    const OptimizerTensor state{.name = "s", .checkpoint_prefix = "s.", .kept_for = is_key};
    model::ModelConfig config;
    config.hidden_size = 40;
    config.num_attention_heads = 5;
    config.num_key_value_heads = 5;
    config.head_dim = 8;
    config.num_hidden_layers = 2;
    config.intermediate_size = 64;
    config.vocab_size = 100;
    const StateLayout layout = state_layout(model::parameter_layout(config), 1);
    const ElementRanges ranges = covered_ranges(state, layout);
    for (std::size_t unit = 1; unit <= 2; ++unit) {
        const StateTensor* const keys = layout.find(unit, "self_attn.k_proj.weight");
        ASSERT_NE(keys, nullptr);
        ASSERT_NE(keys->offset % kTensorAlignment, 0U);
        const StateUnit& place = layout.units[unit];
        const auto found = ranges.within({place.offset, place.offset + place.elements});
        ASSERT_EQ(found.size(), 1U);
        EXPECT_EQ(found[0].begin, keys->offset / kTensorAlignment * kTensorAlignment);
        EXPECT_EQ(found[0].end % kTensorAlignment, 0U);
        EXPECT_GE(found[0].end, keys->offset + 1600);
        EXPECT_LT(found[0].end, keys->offset + 1600 + 2 * kTensorAlignment);
    }
}

}  // namespace
}  // namespace isoflop::cost
