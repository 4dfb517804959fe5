// The order of samples: a pure function, complete in every epoch, the same for any split of the
// batch.
#include "isoflop/data/sampler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "data/data_test_support.hpp"

namespace isoflop::data {
namespace {

using test::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

struct Sample {
    std::vector<std::int32_t> inputs;
    std::vector<std::int32_t> targets;
    bool operator==(const Sample&) const = default;
};

Sample sample_of(const BatchSampler& sampler, std::uint64_t index) {
    const auto size = static_cast<std::size_t>(sampler.block_size());
    Sample sample{std::vector<std::int32_t>(size), std::vector<std::int32_t>(size)};
    sampler.fill(index, sample.inputs, sample.targets);
    return sample;
}

/// Two shards of tokens that count up, so that a token tells its position.
TokenDataset counting_dataset(const TemporaryDirectory& folder, std::size_t size = 1000) {
    const auto tokens = test::counting_tokens(size);
    const auto middle = tokens.begin() + static_cast<std::ptrdiff_t>(size / 3);
    test::write_shard(folder / "train_0.bin", {tokens.begin(), middle}, 60000);
    test::write_shard(folder / "train_1.bin", {middle, tokens.end()}, 60000);
    return TokenDataset::open((folder / "train_*.bin").string(), Split::train);
}

TEST(BatchSampler, TargetsAreInputsShiftedByOne) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const BatchSampler sampler(dataset, 16, 1337);
    for (std::uint64_t index = 0; index < 300; ++index) {
        const Sample sample = sample_of(sampler, index);
        const auto first = sampler.position(index).first_token;
        for (std::size_t place = 0; place < 16; ++place) {
            EXPECT_EQ(sample.inputs[place], static_cast<std::int32_t>((first + place) % 1000));
            EXPECT_EQ(sample.targets[place], static_cast<std::int32_t>((first + place + 1) % 1000));
        }
    }
}

TEST(BatchSampler, EveryEpochVisitsEveryWindowOnce) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    for (const std::int64_t block_size : {1, 7, 16, 100, 999}) {
        const BatchSampler sampler(dataset, block_size, 5);
        const std::uint64_t windows = dataset.num_windows(block_size);
        EXPECT_EQ(windows, 999U / static_cast<std::uint64_t>(block_size));
        for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
            std::set<std::uint64_t> seen;
            for (std::uint64_t index = epoch * windows; index < (epoch + 1) * windows; ++index) {
                EXPECT_EQ(sampler.position(index).epoch, epoch);
                seen.insert(sampler.position(index).window);
            }
            EXPECT_EQ(seen.size(), windows);
            EXPECT_EQ(*seen.rbegin(), windows - 1);
        }
    }
}

TEST(BatchSampler, FirstEpochCutsAtMultiplesOfTheBlockAndLaterOnesElsewhere) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const BatchSampler sampler(dataset, 50, 9);
    const std::uint64_t windows = dataset.num_windows(50);
    std::set<std::uint64_t> offsets;
    for (std::uint64_t epoch = 0; epoch < 8; ++epoch) {
        const auto place = sampler.position(epoch * windows);
        const std::uint64_t offset = (place.first_token + 1000 - place.window * 50) % 1000;
        EXPECT_LT(offset, 50U);
        if (epoch == 0) {
            EXPECT_EQ(offset, 0U);
        }
        offsets.insert(offset);
    }
    EXPECT_GT(offsets.size(), 3U);
}

TEST(BatchSampler, EpochsDifferInOrder) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const BatchSampler sampler(dataset, 10, 5);
    int same = 0;
    for (std::uint64_t index = 0; index < 99; ++index) {
        same += sampler.position(index).window == sampler.position(index + 99).window ? 1 : 0;
    }
    EXPECT_LT(same, 10);  // expected 1
}

// Ranks and threads take slices of one global batch: the caller does not matter.
TEST(BatchSampler, OrderDoesNotDependOnHowTheBatchIsSplit) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    constexpr std::uint64_t kBatch = 24;
    constexpr std::uint64_t kSteps = 10;
    std::vector<Sample> reference;
    const BatchSampler sampler(dataset, 16, 3);
    for (std::uint64_t index = 0; index < kBatch * kSteps; ++index)
        reference.push_back(sample_of(sampler, index));

    for (const std::uint64_t world_size : {1U, 2U, 3U, 8U}) {
        std::vector<Sample> collected(kBatch * kSteps);
        {
            std::vector<std::jthread> ranks;
            for (std::uint64_t rank = 0; rank < world_size; ++rank) {
                ranks.emplace_back([&, rank] {
                    const BatchSampler own(dataset, 16, 3);
                    const std::uint64_t share = kBatch / world_size;
                    for (std::uint64_t step = 0; step < kSteps; ++step) {
                        for (std::uint64_t local = 0; local < share; ++local) {
                            const std::uint64_t index = step * kBatch + rank * share + local;
                            collected[index] = sample_of(own, index);
                        }
                    }
                });
            }
        }
        EXPECT_EQ(collected, reference) << world_size;
    }
}

// The earlier trainer replayed the same batches after a restart.
TEST(BatchSampler, ResumingNeedsNoStateAndDoesNotReplay) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder, 5000);
    std::vector<Sample> uninterrupted;
    const BatchSampler sampler(dataset, 16, 3);
    for (std::uint64_t index = 0; index < 400; ++index)
        uninterrupted.push_back(sample_of(sampler, index));
    const TokenDataset reopened =
        TokenDataset::open((folder / "train_*.bin").string(), Split::train);
    const BatchSampler resumed(reopened, 16, 3);
    for (std::uint64_t index = 250; index < 400; ++index)
        EXPECT_EQ(sample_of(resumed, index), uninterrupted[index]);
    EXPECT_NE(sample_of(resumed, 250), uninterrupted[0]);
}

// These numbers are a promise: a run resumed with a later version sees the same data.
TEST(BatchSampler, OrderIsTheSameForever) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const BatchSampler sampler(dataset, 16, 1337);
    std::vector<std::uint64_t> first_tokens;
    for (const std::uint64_t index : {0U, 1U, 2U, 61U, 62U, 63U, 1000U}) {
        first_tokens.push_back(sampler.position(index).first_token);
    }
    EXPECT_THAT(first_tokens, ElementsAre(544, 528, 224, 160, 65, 49, 7));
}

TEST(BatchSampler, MixesSourcesByWeightEachWithItsOwnEpochs) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "a.bin", test::counting_tokens(1001, 0), 60000);
    test::write_shard(folder / "b.bin", test::counting_tokens(101, 20000), 60000);
    const std::string sources =
        (folder / "a.bin").string() + "@0.75, " + (folder / "b.bin").string() + "@0.25";
    const TokenDataset dataset = TokenDataset::open(sources, Split::train);
    const BatchSampler sampler(dataset, 10, 1);
    std::vector<std::uint64_t> counts(2);
    for (std::uint64_t index = 0; index < 400; ++index) {
        const auto place = sampler.position(index);
        EXPECT_EQ(place.epoch, counts[place.source] / (place.source == 0 ? 100U : 10U));
        ++counts[place.source];
        const Sample sample = sample_of(sampler, index);
        EXPECT_EQ(sample.inputs[0] >= 20000, place.source == 1);
    }
    EXPECT_THAT(counts, ElementsAre(300, 100));
}

TEST(BatchSampler, TooLittleDataNamesTheSource) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "tiny.bin", test::counting_tokens(64), 100);
    const TokenDataset dataset = TokenDataset::open((folder / "tiny.bin").string(), Split::train);
    EXPECT_NO_THROW(BatchSampler(dataset, 63, 1));
    const auto refusal = test::refusal_of([&] { return BatchSampler(dataset, 64, 1); });
    EXPECT_EQ(refusal.exit_code, static_cast<int>(ExitCode::usage));
    EXPECT_THAT(refusal.message,
                HasSubstr("tiny.bin' has 64 tokens; block_size 64 needs at least 65"));
    EXPECT_THROW(BatchSampler(dataset, 0, 1), ConfigError);
}

TEST(BatchSampler, WrongRoomIsAProgrammingError) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const BatchSampler sampler(dataset, 16, 1);
    std::vector<std::int32_t> right(16);
    std::vector<std::int32_t> wrong(15);
    EXPECT_THROW(sampler.fill(0, right, wrong), std::invalid_argument);
    EXPECT_THROW(sampler.fill(0, wrong, right), std::invalid_argument);
}

TEST(EvalSampler, EveryTokenIsATargetExactlyOnce) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    for (const std::int64_t block_size : {1, 2, 16, 333, 998, 999, 1000, 5000}) {
        const EvalSampler sampler(dataset, block_size);
        std::vector<std::int32_t> inputs(static_cast<std::size_t>(block_size));
        std::vector<std::int32_t> targets(static_cast<std::size_t>(block_size));
        std::int32_t next = 1;
        for (std::uint64_t index = 0; index < sampler.num_windows(); ++index) {
            const std::int64_t length = sampler.fill(index, inputs, targets);
            for (std::int64_t place = 0; place < block_size; ++place) {
                const auto at = static_cast<std::size_t>(place);
                EXPECT_EQ(targets[at], place < length ? next : -100);
                EXPECT_EQ(inputs[at], place < length ? next - 1 : 0);
                if (place < length) ++next;
            }
        }
        EXPECT_EQ(next, 1000);
    }
}

TEST(EvalSampler, CanSkipTheShortLastWindow) {
    const TemporaryDirectory folder;
    const TokenDataset dataset = counting_dataset(folder);
    const EvalSampler sampler(dataset, 16, LastWindow::skip);
    EXPECT_EQ(sampler.num_windows(), 62U);
    EXPECT_EQ(sampler.eval_window(61).length, 16);
    EXPECT_THROW((void)sampler.eval_window(62), std::out_of_range);
    EXPECT_THROW(EvalSampler(dataset, 1000, LastWindow::skip), ConfigError);
}

TEST(EvalSampler, GoesFromSourceToSource) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "a.bin", test::counting_tokens(25), 60000);
    test::write_shard(folder / "b.bin", test::counting_tokens(13, 100), 60000);
    const std::string sources = (folder / "a.bin").string() + "," + (folder / "b.bin").string();
    const TokenDataset dataset = TokenDataset::open(sources, Split::validation);
    const EvalSampler sampler(dataset, 10);
    EXPECT_EQ(sampler.num_windows(), 5U);
    EXPECT_EQ(sampler.eval_window(2).length, 4);
    EXPECT_EQ(sampler.eval_window(3).source, 1U);
    EXPECT_EQ(sampler.eval_window(3).first_token, 0U);
    EXPECT_EQ(sampler.eval_window(4).length, 2);
}

}  // namespace
}  // namespace isoflop::data
