#include "isoflop/data/token_dataset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "data/data_test_support.hpp"
#include "isoflop/data/builtin_corpus.hpp"

namespace isoflop::data {
namespace {

using test::refusal_of;
using test::TemporaryDirectory;
using testing::HasSubstr;

std::vector<std::int32_t> all_tokens(const TokenSource& source) {
    std::vector<std::int32_t> tokens(source.size());
    source.copy(0, tokens);
    return tokens;
}

TEST(ParseSources, ReadsLocationsAndWeights) {
    const auto sources = parse_sources(" data/web@0.7 ,data/c*.bin@ 3e-1");
    ASSERT_EQ(sources.size(), 2U);
    EXPECT_EQ(sources[0].location, "data/web");
    EXPECT_EQ(sources[0].weight, 0.7);
    EXPECT_EQ(sources[1].location, "data/c*.bin");
    EXPECT_EQ(sources[1].weight, 0.3);
    EXPECT_EQ(parse_sources("builtin")[0].weight, std::nullopt);
}

TEST(ParseSources, RefusesWhatIsNotAList) {
    for (const char* text :
         {"", "a,,b", "a,", "@1", "a@", "a@x", "a@0", "a@-1", "a@inf", "a@nan", "a@1x"}) {
        EXPECT_EQ(refusal_of([&] { return parse_sources(text); }).exit_code, 2) << text;
    }
}

TEST(TokenSource, JoinsTheShardsOfAGlobInNaturalOrder) {
    const TemporaryDirectory folder;
    std::vector<std::int32_t> expected;
    for (const int number : {1, 2, 9, 10, 11, 100, 1000}) {
        const auto tokens = test::counting_tokens(10, number * 20);
        test::write_shard(folder / ("train_" + std::to_string(number) + ".bin"), tokens, 30000);
        expected.insert(expected.end(), tokens.begin(), tokens.end());
    }
    const TokenSource source = TokenSource::open((folder / "train_*.bin").string(), Split::train);
    EXPECT_EQ(source.files().size(), 7U);
    EXPECT_EQ(all_tokens(source), expected);
    std::vector<std::int32_t> across(35);
    source.copy(8, across);
    EXPECT_TRUE(std::equal(across.begin(), across.end(), expected.begin() + 8));
    EXPECT_THROW(source.copy(60, across), std::out_of_range);
}

TEST(TokenSource, NumberOfWindowsCountsOneTokenMoreThanTheBlock) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "x.bin", test::counting_tokens(101), 200);
    const TokenSource source = TokenSource::open((folder / "x.bin").string(), Split::train);
    EXPECT_EQ(source.num_windows(10), 10U);
    EXPECT_EQ(source.num_windows(100), 1U);
    EXPECT_EQ(source.num_windows(101), 0U);
}

TEST(TokenSource, ReadsFoldersOfNanoGptAndLlmC) {
    const TemporaryDirectory folder;
    test::write_file(folder / "train.bin",
                     test::bytes_of<std::uint16_t>(test::counting_tokens(90)));
    test::write_file(folder / "val.bin",
                     test::bytes_of<std::uint16_t>(test::counting_tokens(10, 90)));
    EXPECT_EQ(TokenSource::open(folder.path().string(), Split::train).size(), 90U);
    const TokenSource validation = TokenSource::open(folder.path().string(), Split::validation);
    EXPECT_EQ(all_tokens(validation).front(), 90);
    EXPECT_EQ(validation.vocab_size(), 0);
    EXPECT_EQ(validation.tokenizer(), nullptr);

    const TemporaryDirectory llmc;
    test::write_file(llmc / "tiny_shakespeare_train.bin",
                     test::llmc_bytes(20240520, 1, test::counting_tokens(50), true));
    test::write_file(llmc / "tiny_shakespeare_val.bin",
                     test::llmc_bytes(20240520, 1, test::counting_tokens(5), true));
    EXPECT_EQ(TokenSource::open(llmc.path().string(), Split::train).size(), 50U);
    EXPECT_EQ(TokenSource::open(llmc.path().string(), Split::validation).size(), 5U);
}

TEST(TokenSource, APickleIsMentionedAndNotRead) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(200, 65);
    test::write_file(folder / "train.bin", test::bytes_of<std::uint16_t>(tokens));
    const auto note = [&] {
        return TokenSource::open(folder.path().string(), Split::train).note();
    };
    EXPECT_EQ(note(), "");
    test::write_file(folder / "meta.pkl", "cos\nsystem\n(S'false'\ntR.");
    EXPECT_THAT(note(), HasSubstr("meta.pkl is not read"));
    EXPECT_THAT(note(), HasSubstr("vocab_size"));
}

TEST(TokenSource, NothingToReadIsAnIoErrorThatHelps) {
    const TemporaryDirectory folder;
    const auto message_for = [](const std::filesystem::path& path) {
        const auto refusal =
            refusal_of([&] { return TokenSource::open(path.string(), Split::train); });
        EXPECT_EQ(refusal.exit_code, 3);
        return refusal.message;
    };
    EXPECT_THAT(message_for(folder.path()), HasSubstr("train prepare-data"));
    EXPECT_THAT(message_for(folder / "*.bin"), HasSubstr("no file matches"));
    test::write_file(folder / "train.bin", "ab");
    EXPECT_THAT(message_for(folder / "trian.bin"), HasSubstr("did you mean"));
}

TEST(TokenSource, SpecialCharactersInAFolderNameAreNoPattern) {
    const TemporaryDirectory folder;
    std::filesystem::create_directory(folder / "a[b]*");
    test::write_file(folder / "a[b]*/train.bin", "abcd");
    EXPECT_EQ(TokenSource::open((folder / "a[b]*").string(), Split::train).size(), 2U);
    EXPECT_EQ(TokenSource::open((folder / "a[b]*/train.bin").string(), Split::train).size(), 2U);
}

TEST(TokenSource, DifferentTokenizersDoNotMix) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "a.bin", {1, 2, 3}, 10, 111);
    test::write_shard(folder / "b.bin", {1, 2, 3}, 10, 222);
    const auto glob =
        refusal_of([&] { return TokenSource::open((folder / "?.bin").string(), Split::train); });
    EXPECT_EQ(glob.exit_code, 3);
    EXPECT_THAT(glob.message, HasSubstr("b.bin: error: made with another tokenizer"));
    const std::string both = (folder / "a.bin").string() + "," + (folder / "b.bin").string();
    EXPECT_EQ(refusal_of([&] { return TokenDataset::open(both, Split::train); }).exit_code, 3);
}

TEST(TokenDataset, WithoutWeightsSourcesCountByTheirTokens) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "a.bin", test::counting_tokens(300), 1000);
    test::write_shard(folder / "b.bin", test::counting_tokens(100), 500);
    const std::string both = (folder / "a.bin").string() + "," + (folder / "b.bin").string();
    const TokenDataset dataset = TokenDataset::open(both, Split::train);
    EXPECT_THAT(dataset.weights(), testing::ElementsAre(0.75, 0.25));
    EXPECT_EQ(dataset.size(), 400U);
    EXPECT_EQ(dataset.num_windows(10), 29U + 9U);
    EXPECT_EQ(dataset.vocab_size(), 1000);
    EXPECT_EQ(refusal_of([&] { return TokenDataset::open(both + "@1", Split::train); }).exit_code,
              2);
    EXPECT_EQ(refusal_of([&] {
                  return TokenDataset::open(std::vector<SourceSpec>{}, Split::train);
              }).exit_code,
              2);
}

TEST(TokenDataset, ModelVocabularyIsCheckedAgainstTheHeaderAndEveryToken) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "known.bin", {1, 2, 3}, 300);
    TokenDataset known = TokenDataset::open((folder / "known.bin").string(), Split::train);
    EXPECT_NO_THROW(known.set_model_vocab_size(300));
    const auto refusal = refusal_of([&] {
        known.set_model_vocab_size(299);
        return 0;
    });
    EXPECT_EQ(refusal.exit_code, 2);
    EXPECT_THAT(refusal.message, HasSubstr("has a vocabulary of 300 tokens; vocab_size 299"));

    test::write_file(folder / "bare.bin",
                     test::bytes_of<std::uint16_t>(std::vector<int>{1, 2, 299, 4}));
    TokenDataset bare = TokenDataset::open((folder / "bare.bin").string(), Split::train);
    std::vector<std::int32_t> tokens(4);
    EXPECT_NO_THROW(bare.copy(0, 0, tokens));
    bare.set_model_vocab_size(299);
    EXPECT_THROW(bare.copy(0, 0, tokens), IoError);
    EXPECT_NO_THROW(bare.copy(0, 0, std::span(tokens).first(2)));
}

TEST(BuiltinCorpus, IsAlwaysThere) {
    const TokenDataset train = TokenDataset::open("builtin", Split::train);
    const TokenDataset validation = TokenDataset::open("builtin", Split::validation);
    EXPECT_EQ(train.size(), kBuiltinTrainTokens);
    EXPECT_EQ(validation.size(), kBuiltinValidationTokens);
    EXPECT_EQ(train.vocab_size(), 257);
    ASSERT_NE(train.tokenizer(), nullptr);
    EXPECT_EQ(train.tokenizer()->name(), "byte");
    EXPECT_EQ(train.tokenizer()->hash(), train.tokenizer_hash());
    std::vector<std::int32_t> beginning(2000);
    train.copy(0, 0, beginning);
    EXPECT_THAT(train.tokenizer()->decode(beginning), HasSubstr("\n"));
}

TEST(BuiltinCorpus, DocumentsArePureFunctionsOfTheirNumber) {
    std::set<std::string> documents;
    for (std::uint64_t index = 0; index < 500; ++index) {
        const std::string document = builtin_document(index);
        EXPECT_EQ(document, builtin_document(index));
        EXPECT_GT(document.size(), 50U);
        documents.insert(document);
    }
    EXPECT_GT(documents.size(), 495U);
}

TEST(BuiltinCorpus, SumsAreRight) {
    int checked = 0;
    for (std::uint64_t index = 0; index < 100; ++index) {
        const std::string document = builtin_document(index);
        int left = 0;
        int right = 0;
        int result = 0;
        char sign = 0;
        if (std::sscanf(document.c_str(), "%d %c %d = %d", &left, &sign, &right, &result) != 4)
            continue;
        EXPECT_EQ(result, sign == '+' ? left + right : left - right);
        ++checked;
    }
    EXPECT_GT(checked, 5);
}

// The order and the text are a promise, as for the samples.
TEST(BuiltinCorpus, IsTheSameForever) {
    std::uint64_t hash = 0xCBF29CE484222325;
    for (const std::uint16_t token : builtin_tokens(Split::train))
        hash = (hash ^ token) * 0x100000001B3;
    EXPECT_EQ(hash, 4330648870416586800U);
}

}  // namespace
}  // namespace isoflop::data
