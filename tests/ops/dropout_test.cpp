#include "isoflop/ops/dropout.hpp"

#include "isoflop/base/philox.hpp"
#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

// Known answers of the authors' Random123 library, kat_vectors, philox4x32 with 10 rounds.
static_assert(philox({0, 0, 0, 0}, {0, 0}) ==
              PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
              PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

constexpr DropoutKey kKey = {
    .seed = 1337, .step = 12, .first_sequence = 40, .layer = 3, .site = DropoutSite::ffn_branch};

/// Dropout of ones: the mask, scaled.
template <class T>
std::vector<T> mask(Context& context, const DropoutKey& key, double probability,
                    std::int64_t sequences, std::int64_t length, std::int64_t width) {
    Tensor<T> x({sequences * length, width}, T(1));
    dropout(context, key, probability, length, x.view());
    return x.values();
}

/// The documented definition, element by element.
bool is_kept(const DropoutKey& key, double probability, std::uint64_t sequence,
             std::uint32_t position, std::uint32_t column) {
    const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32U); };
    const PhiloxCounter stream =
        philox({low(key.step), high(key.step), key.layer, static_cast<std::uint32_t>(key.site)},
               {low(key.seed), high(key.seed)});
    const PhiloxCounter words =
        philox({column / 4, position, low(sequence), high(sequence)}, {stream[0], stream[1]});
    return to_unit_interval(words[column % 4]) >= std::floor(probability * 0x1p32) * 0x1p-32;
}

template <class T>
class DropoutTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(DropoutTest, ElementTypes);

TYPED_TEST(DropoutTest, MaskIsTheDocumentedFunctionOfTheCounters) {
    using T = TypeParam;
    for (const std::int64_t width : {1, 7, 31, 33, 130}) {
        const std::int64_t sequences = 3;
        const std::int64_t length = 5;
        const auto values = mask<T>(this->context, kKey, 0.3, sequences, length, width);
        const T kept = static_cast<T>(1 / (1 - 0.3));
        std::size_t index = 0;
        for (std::uint64_t sequence = 40; sequence < 43; ++sequence) {
            for (std::uint32_t position = 0; position < 5; ++position) {
                for (std::uint32_t column = 0; column < width; ++column) {
                    ASSERT_EQ(values[index++],
                              is_kept(kKey, 0.3, sequence, position, column) ? kept : T(0))
                        << sequence << ' ' << position << ' ' << column;
                }
            }
        }
    }
}

TYPED_TEST(DropoutTest, BackwardHasTheMaskOfForward) {
    using T = TypeParam;
    Tensor<T> x({8, 33}, random_values(8 * 33, 1));
    Tensor<T> gradient({8, 33}, random_values(8 * 33, 2));
    const auto before = x.values();
    dropout(this->context, kKey, 0.5, 4, x.view());
    dropout(this->context, kKey, 0.5, 4, gradient.view());
    for (std::size_t i = 0; i < before.size(); ++i) {
        EXPECT_EQ(x.values()[i] == T(0), gradient.values()[i] == T(0));
        EXPECT_TRUE(x.values()[i] == T(0) || x.values()[i] == before[i] * T(2));
    }
}

TEST(Dropout, KeepsTheExpectedShareAndTheMean) {
    ThreadPool pool(2);
    Context context(pool);
    for (const double probability : {0.1, 0.5, 0.9}) {
        const auto values = mask<float>(context, kKey, probability, 16, 64, 257);
        double kept = 0;
        double total = 0;
        for (const float value : values) {
            kept += value != 0.0F ? 1 : 0;
            total += static_cast<double>(value);
        }
        const auto count = static_cast<double>(values.size());
        // Five standard deviations of a binomial share.
        const double deviation = 5 * std::sqrt(probability * (1 - probability) / count);
        EXPECT_NEAR(kept / count, 1 - probability, deviation);
        EXPECT_NEAR(total / count, 1, deviation / (1 - probability));
    }
}

TEST(Dropout, SplittingABatchKeepsEveryMask) {
    ThreadPool pool(2);
    Context context(pool);
    const auto whole = mask<float>(context, kKey, 0.2, 4, 6, 37);
    std::vector<float> parts;
    for (std::uint64_t part = 0; part < 2; ++part) {
        DropoutKey key = kKey;
        key.first_sequence += 2 * part;
        const auto values = mask<float>(context, key, 0.2, 2, 6, 37);
        parts.insert(parts.end(), values.begin(), values.end());
    }
    EXPECT_EQ(parts, whole);
}

TEST(Dropout, EveryPartOfTheKeyMatters) {
    ThreadPool pool(1);
    Context context(pool);
    const auto base = mask<float>(context, kKey, 0.5, 1, 4, 64);
    std::vector<DropoutKey> others(6, kKey);
    others[0].seed += 1;
    others[1].seed += std::uint64_t{1} << 32U;
    others[2].step += 1;
    others[3].layer += 1;
    others[4].site = DropoutSite::attention_branch;
    others[5].first_sequence += std::uint64_t{1} << 32U;
    for (const DropoutKey& key : others) {
        const auto other = mask<float>(context, key, 0.5, 1, 4, 64);
        std::size_t equal = 0;
        for (std::size_t i = 0; i < base.size(); ++i) equal += base[i] == other[i] ? 1 : 0;
        EXPECT_NEAR(static_cast<double>(equal), 128, 50);  // six standard deviations of 8
    }
}

TEST(Dropout, ThreadsAndInstructionSetsChangeNoBit) {
    const auto compute = [](Context& context) {
        return mask<float>(context, kKey, 0.1, 30, 20, 131);
    };
    expect_same_bits_on_any_threads(compute);
    const auto best = single_threaded(compute);
    for_each_instruction_set([&] { EXPECT_EQ(single_threaded(compute), best); });
}

TEST(Dropout, ProbabilityZeroLeavesNanAndAllElseAlone) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> x({2, 2}, {1, -0.0, 3, 4});
    dropout(context, kKey, 0, 2, x.view());
    EXPECT_EQ(x.doubles(), (std::vector<double>{1, -0.0, 3, 4}));
}

TEST(Dropout, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> x({6, 4});
    expect_refused<std::invalid_argument>([&] { dropout(context, kKey, 1.0, 3, x.view()); },
                                          {"dropout", "probability is 1"});
    expect_refused<std::invalid_argument>([&] { dropout(context, kKey, -0.1, 3, x.view()); },
                                          {"-0.1"});
    expect_refused<std::invalid_argument>([&] { dropout(context, kKey, NAN, 3, x.view()); },
                                          {"nan"});
    expect_refused<std::invalid_argument>([&] { dropout(context, kKey, 0.1, 4, x.view()); },
                                          {"6 rows", "4"});
}

}  // namespace
}  // namespace isoflop::ops::testing
