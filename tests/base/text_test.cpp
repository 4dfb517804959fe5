// Spelling suggestions and numbers as people read them.
#include "isoflop/base/text.hpp"

#include <gtest/gtest.h>

#include "isoflop/base/rounding.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace isoflop {
namespace {

TEST(EditDistance, CountsSingleEdits) {
    EXPECT_EQ(edit_distance("hidden_size", "hidden_size"), 0U);
    EXPECT_EQ(edit_distance("hidden_size", "hiden_size"), 1U);    // deletion
    EXPECT_EQ(edit_distance("hidden_size", "hiddden_size"), 1U);  // insertion
    EXPECT_EQ(edit_distance("hidden_size", "hidden_sise"), 1U);   // substitution
    EXPECT_EQ(edit_distance("hidden_size", "hiddne_size"), 1U);   // swap of neighbours
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(EditDistance, IgnoresCase) {
    EXPECT_EQ(edit_distance("BF16", "bf16"), 0U);
}

TEST(EditDistance, OfAnEmptyWordIsTheOtherLength) {
    EXPECT_EQ(edit_distance("", ""), 0U);
    EXPECT_EQ(edit_distance("", "abc"), 3U);
    EXPECT_EQ(edit_distance("abc", ""), 3U);
}

TEST(EditDistance, IsSymmetric) {
    EXPECT_EQ(edit_distance("ca", "abc"), edit_distance("abc", "ca"));
    EXPECT_EQ(edit_distance("ca", "abc"), 3U);  // no letter is edited twice: "optimal alignment"
}

TEST(NearestSpelling, PrefersTheClosestCandidate) {
    constexpr std::array<std::string_view, 3> kKeys{"num_layers", "num_heads", "num_head_groups"};
    EXPECT_EQ(nearest_spelling("num_haeds", kKeys), "num_heads");
    EXPECT_EQ(nearest_spelling("NUM_LAYER", kKeys), "num_layers");
}

TEST(NearestSpelling, TakesTheFirstOfEquallyCloseCandidates) {
    constexpr std::array<std::string_view, 2> kKeys{"fp8", "fp4"};
    EXPECT_EQ(nearest_spelling("fp6", kKeys), "fp8");
}

TEST(NearestSpelling, StaysSilentWhenNothingIsClose) {
    constexpr std::array<std::string_view, 2> kKeys{"num_layers", "num_heads"};
    EXPECT_EQ(nearest_spelling("dropout", kKeys), std::nullopt);
    EXPECT_EQ(nearest_spelling("dropout", {}), std::nullopt);
}

TEST(NearestSpelling, DoesNotOfferUnrelatedShortWords) {
    constexpr std::array<std::string_view, 2> kWords{"on", "k"};
    EXPECT_EQ(nearest_spelling("x", kWords), std::nullopt);
    EXPECT_EQ(nearest_spelling("", kWords), std::nullopt);
}

TEST(NearestSpelling, AllowsMoreErrorsInLongWords) {
    constexpr std::array<std::string_view, 1> kKeys{"num_key_value_heads"};
    EXPECT_EQ(nearest_spelling("numkeyvalueheads", kKeys), "num_key_value_heads");
}

TEST(NearestSpelling, IsCheapForHugeWords) {
    constexpr std::array<std::string_view, 1> kKeys{"num_layers"};
    EXPECT_EQ(nearest_spelling(std::string(10'000'000, 'x'), kKeys), std::nullopt);
}

TEST(Suggestion, IsAPhraseOrEmpty) {
    constexpr std::array<std::string_view, 1> kKeys{"llama"};
    EXPECT_EQ(suggestion("lama", kKeys), "; did you mean 'llama'?");
    EXPECT_EQ(suggestion("transformer", kKeys), "");
}

TEST(Join, PutsTheSeparatorBetweenWords) {
    constexpr std::array<std::string_view, 3> kWords{"ddp", "zero1", "fsdp"};
    EXPECT_EQ(join(kWords), "ddp, zero1, fsdp");
    EXPECT_EQ(join(kWords, "|"), "ddp|zero1|fsdp");
    EXPECT_EQ(join({}), "");
}

TEST(ToLower, ChangesOnlyAsciiLetters) {
    EXPECT_EQ(to_lower("H100-SXM \xC3\x84"), "h100-sxm \xC3\x84");
}

TEST(WithSeparators, GroupsByThousands) {
    EXPECT_EQ(with_separators(0), "0");
    EXPECT_EQ(with_separators(999), "999");
    EXPECT_EQ(with_separators(1000), "1,000");
    EXPECT_EQ(with_separators(1234567), "1,234,567");
    EXPECT_EQ(with_separators(-999), "-999");
    EXPECT_EQ(with_separators(-123456), "-123,456");
    EXPECT_EQ(with_separators(std::numeric_limits<std::int64_t>::min()),
              "-9,223,372,036,854,775,808");
}

TEST(HumanCount, PicksTheUnit) {
    EXPECT_EQ(human_count(0), "0");
    EXPECT_EQ(human_count(950), "950");
    EXPECT_EQ(human_count(0.5), "0.50");
    EXPECT_EQ(human_count(1000), "1.00K");
    EXPECT_EQ(human_count(124'439'808), "124.44M");
    EXPECT_EQ(human_count(6'885'871'616), "6.89B");
    EXPECT_EQ(human_count(1.4e12), "1.40T");
    EXPECT_EQ(human_count(-2500), "-2.50K");
}

TEST(HumanCount, RoundsIntoTheNextUnit) {
    EXPECT_EQ(human_count(999'994), "999.99K");
    EXPECT_EQ(human_count(999'999), "1.00M");
}

TEST(HumanCount, UsesAnExponentBeyondTrillions) {
    EXPECT_EQ(human_count(2e16), "2.00e+16");
    EXPECT_EQ(human_count(std::numeric_limits<double>::infinity()), "inf");
    EXPECT_EQ(human_count(std::nan("")), "nan");
}

TEST(HumanFlops, HasThreeSignificantDigits) {
    EXPECT_EQ(human_flops(9.2345e21), "9.23e+21");
}

TEST(HumanBytes, UsesGibibytesUnlessTheyRoundToNothing) {
    EXPECT_EQ(human_bytes(78.65 * kGiB), "78.65 GiB");
    EXPECT_EQ(human_bytes(0.1 * kGiB), "0.10 GiB");
    EXPECT_EQ(human_bytes(0.05 * kGiB), "51.20 MiB");
    EXPECT_EQ(human_bytes(5.0 * 1024 * 1024), "5.00 MiB");
    EXPECT_EQ(human_bytes(512), "0.50 KiB");
    EXPECT_EQ(human_bytes(0), "0 B");
    EXPECT_EQ(human_bytes(-2.5 * kGiB), "-2.50 GiB");
}

TEST(Trimmed, LosesSpaceAtItsEndsOnly) {
    EXPECT_EQ(trimmed(" \t a b\n"), "a b");
    EXPECT_EQ(trimmed("a"), "a");
    EXPECT_EQ(trimmed(" \n "), "");
    EXPECT_EQ(trimmed(""), "");
}

TEST(RoundUp, GivesTheNextMultiple) {
    EXPECT_EQ(round_up(std::int64_t{0}, 8), 0);
    EXPECT_EQ(round_up(std::int64_t{1}, 8), 8);
    EXPECT_EQ(round_up(std::uint64_t{16}, 8), 16U);
    EXPECT_EQ(round_up(std::uint64_t{17}, 5), 20U);
}

TEST(HumanSeconds, PicksTheUnit) {
    EXPECT_EQ(human_seconds(0), "0.0 s");
    EXPECT_EQ(human_seconds(25e-6), "25.0 us");
    EXPECT_EQ(human_seconds(0.25), "250.0 ms");
    EXPECT_EQ(human_seconds(12.34), "12.3 s");
    EXPECT_EQ(human_seconds(600), "10.0 min");
    EXPECT_EQ(human_seconds(4.5 * 3600), "4.5 h");
    EXPECT_EQ(human_seconds(30.0 * 86400), "30.0 days");
    EXPECT_EQ(human_seconds(10.0 * 365.25 * 86400), "10.0 years");
}

TEST(Suggestion, IsNeverTheOppositeNorAnotherFigure) {
    const std::vector<std::string_view> known = {"weight_tying", "relu", "layer_norm_eps",
                                                 "norm_position", "num_gpus"};
    EXPECT_EQ(suggestion("no_weight_tying", known), "");
    EXPECT_EQ(suggestion("relu2", known), "");
    EXPECT_EQ(suggestion("layer_norm_type", known), "");
    EXPECT_EQ(suggestion("nrom_position", known), "; did you mean 'norm_position'?");
    EXPECT_EQ(suggestion("num_gpu", known), "; did you mean 'num_gpus'?");
}

}  // namespace
}  // namespace isoflop
