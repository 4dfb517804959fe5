// Formats round trip, and no damaged file gets through.
#include "isoflop/data/token_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "data/data_test_support.hpp"

namespace isoflop::data {
namespace {

using test::refusal_of;
using test::TemporaryDirectory;
using testing::HasSubstr;

constexpr int kIo = static_cast<int>(ExitCode::io);

test::Refusal refusal_to_open(const std::filesystem::path& path) {
    return refusal_of([&] { return TokenFile::open(path); });
}

TEST(TokenFile, ShardRoundTripsInBothWidths) {
    const TemporaryDirectory folder;
    for (const std::int32_t vocab_size : {2, 256, 65536, 65537, 200000}) {
        for (const std::size_t count : {1U, 7U, 32768U, 32769U, 100000U}) {
            const auto tokens =
                test::random_tokens(count, vocab_size, static_cast<unsigned>(count));
            test::write_shard(folder / "shard.bin", tokens, vocab_size, 77);
            const TokenFile file = TokenFile::open(folder / "shard.bin");
            EXPECT_EQ(file.format(), TokenFormat::isoflop);
            EXPECT_EQ(file.size(), count);
            EXPECT_EQ(file.vocab_size(), vocab_size);
            EXPECT_EQ(file.tokenizer_hash(), 77U);
            EXPECT_EQ(file.bytes_per_token(), vocab_size <= 65536 ? 2 : 4);
            EXPECT_EQ(test::all_tokens(file), tokens);
            EXPECT_NO_THROW(file.verify());
        }
    }
}

TEST(TokenFile, AppendingInPiecesGivesTheSameBytes) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(70000, 500);
    test::write_shard(folder / "whole.bin", tokens, 500);
    TokenFileWriter writer(folder / "pieces.bin", {.vocab_size = 500});
    for (std::size_t first = 0, length = 1; first < tokens.size();
         first += length, length = length * 2 + 1) {
        writer.append(std::span(tokens).subspan(first, std::min(length, tokens.size() - first)));
    }
    writer.finish();
    EXPECT_EQ(test::read_file(folder / "pieces.bin"), test::read_file(folder / "whole.bin"));
}

TEST(TokenFile, CopiesAnyRange) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(90000, 1000);
    test::write_shard(folder / "shard.bin", tokens, 1000);
    const TokenFile file = TokenFile::open(folder / "shard.bin");
    for (const std::size_t first : {0U, 1U, 32700U, 32767U, 32768U, 89000U}) {
        std::vector<std::int32_t> part(1000);
        file.copy(first, part);
        EXPECT_TRUE(std::equal(part.begin(), part.end(),
                               tokens.begin() + static_cast<std::ptrdiff_t>(first)));
    }
    std::vector<std::int32_t> part(2);
    EXPECT_THROW(file.copy(tokens.size() - 1, part), std::out_of_range);
    EXPECT_THROW(file.copy(~std::uint64_t{0}, part), std::out_of_range);
    EXPECT_NO_THROW(file.copy(tokens.size(), {}));
}

TEST(TokenFile, CanBeReadFromSeveralThreads) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(200000, 1000);
    test::write_shard(folder / "shard.bin", tokens, 1000);
    const TokenFile file = TokenFile::open(folder / "shard.bin");
    std::vector<std::vector<std::int32_t>> results(4);
    {
        std::vector<std::jthread> threads;
        for (auto& result : results) threads.emplace_back([&] { result = test::all_tokens(file); });
    }
    for (const auto& result : results) EXPECT_EQ(result, tokens);
}

TEST(TokenFile, ReadsBothFormatsOfLlmC) {
    const TemporaryDirectory folder;
    const auto small = test::random_tokens(3000, 50257);
    test::write_file(folder / "gpt2.bin", test::llmc_bytes(20240520, 1, small, true));
    const TokenFile gpt2 = TokenFile::open(folder / "gpt2.bin");
    EXPECT_EQ(gpt2.format(), TokenFormat::llmc);
    EXPECT_EQ(gpt2.bytes_per_token(), 2);
    EXPECT_EQ(gpt2.vocab_size(), 0);
    EXPECT_EQ(test::all_tokens(gpt2), small);

    const auto large = test::random_tokens(3000, 128256);
    test::write_file(folder / "llama3.bin", test::llmc_bytes(20240801, 7, large, false));
    const TokenFile llama3 = TokenFile::open(folder / "llama3.bin");
    EXPECT_EQ(llama3.bytes_per_token(), 4);
    EXPECT_EQ(test::all_tokens(llama3), large);
}

TEST(TokenFile, ReadsNanoGptFiles) {
    const TemporaryDirectory folder;
    for (const std::size_t count : {1U, 2U, 3U, 4U, 1000U}) {
        const auto tokens = test::random_tokens(count, 50257);
        test::write_file(folder / "train.bin", test::bytes_of<std::uint16_t>(tokens));
        const TokenFile file = TokenFile::open(folder / "train.bin");
        EXPECT_EQ(file.format(), TokenFormat::nanogpt);
        EXPECT_EQ(test::all_tokens(file), tokens);
    }
}

TEST(TokenFile, RecognisesTokensOf32BitsWithoutAHeader) {
    const TemporaryDirectory folder;
    for (const std::int32_t vocab_size : {300, 32000, 50257, 128256, 256000}) {
        for (const std::size_t count : {100U, 5000U, 200'000U}) {
            const auto tokens = test::random_tokens(count, vocab_size);
            test::write_file(folder / "wide.bin", test::bytes_of<std::uint32_t>(tokens));
            const TokenFile wide = TokenFile::open(folder / "wide.bin");
            EXPECT_EQ(wide.bytes_per_token(), 4) << vocab_size << ", " << count;
            EXPECT_EQ(test::all_tokens(wide), tokens);
        }
    }
    for (const std::int32_t vocab_size : {2, 10, 17, 65, 257, 50257, 65536}) {
        for (const std::size_t count : {100U, 128U, 5000U, 200'000U}) {
            const auto tokens = test::random_tokens(count, vocab_size);
            test::write_file(folder / "narrow.bin", test::bytes_of<std::uint16_t>(tokens));
            const TokenFile narrow = TokenFile::open(folder / "narrow.bin");
            EXPECT_EQ(narrow.bytes_per_token(), 2) << vocab_size << ", " << count;
            EXPECT_EQ(test::all_tokens(narrow), tokens);
        }
    }
}

TEST(TokenFile, AsksForTheWidthOfTokensThatLookLikeNone) {
    const TemporaryDirectory folder;
    auto tokens = test::random_tokens(5000, 50257);
    test::write_file(folder / "int64.bin", test::bytes_of<std::int64_t>(tokens));
    EXPECT_THAT(refusal_to_open(folder / "int64.bin").message, HasSubstr("64 bits"));
    // More than any vocabulary has.
    test::write_file(folder / "large.bin",
                     test::bytes_of<std::uint32_t>(test::random_tokens(5000, 2'000'000)));
    EXPECT_THAT(refusal_to_open(folder / "large.bin").message, HasSubstr("astype(numpy.uint32)"));
    // As labels with an ignored index.
    for (std::size_t i = 0; i < tokens.size(); i += 40) tokens[i] = -100;
    test::write_file(folder / "ignored.bin", test::bytes_of<std::int32_t>(tokens));
    const auto refusal = refusal_to_open(folder / "ignored.bin");
    EXPECT_EQ(refusal.exit_code, kIo);
    EXPECT_THAT(refusal.message, HasSubstr("astype(numpy.uint32)"));
}

// The earlier trainer read any number and failed, or did not, inside the embedding.
TEST(TokenFile, TokenOutsideTheVocabularyIsNamedWithFileAndPosition) {
    const TemporaryDirectory folder;
    auto tokens = test::random_tokens(5000, 100);
    tokens[1234] = 300;
    test::write_file(folder / "train.bin", test::bytes_of<std::uint16_t>(tokens));
    const TokenFile file = TokenFile::open(folder / "train.bin");
    std::vector<std::int32_t> part(500);
    EXPECT_NO_THROW(file.copy(0, part, 100));
    const auto refusal = refusal_of([&] {
        file.copy(1000, part, 100);
        return 0;
    });
    EXPECT_EQ(refusal.exit_code, kIo);
    EXPECT_THAT(refusal.message, HasSubstr("train.bin: error: token 300 at position 1,234"));
    EXPECT_NO_THROW(file.copy(1000, part, 301));
}

TEST(TokenFile, TokenBeyondInt32IsRefused) {
    const TemporaryDirectory folder;
    test::write_file(folder / "x.bin", test::llmc_bytes(20240801, 7, {1, -1, 3}, false));
    const TokenFile file = TokenFile::open(folder / "x.bin");
    EXPECT_THAT(refusal_of([&] { return test::all_tokens(file); }).message,
                HasSubstr("4294967295 at position 1"));
}

TEST(TokenFile, EveryTruncationOfAShardIsDetected) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "shard.bin", test::random_tokens(40, 300), 300);
    const std::string whole = test::read_file(folder / "shard.bin");
    for (std::size_t length = 0; length < whole.size(); ++length) {
        test::write_file(folder / "cut.bin", whole.substr(0, length));
        const auto refusal = refusal_to_open(folder / "cut.bin");
        EXPECT_EQ(refusal.exit_code, kIo) << "of length " << length;
        EXPECT_THAT(refusal.message, HasSubstr("cut.bin: error: "));
    }
    test::write_file(folder / "long.bin", whole + "x");
    EXPECT_THAT(refusal_to_open(folder / "long.bin").message,
                HasSubstr("longer than it should be"));
}

TEST(TokenFile, EveryFlippedBitOfAShardIsDetected) {
    const TemporaryDirectory folder;
    test::write_shard(folder / "shard.bin", test::random_tokens(60, 300), 300);
    std::string bytes = test::read_file(folder / "shard.bin");
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
        test::write_file(folder / "flipped.bin", bytes);
        const auto refusal =
            refusal_of([&] { return test::all_tokens(TokenFile::open(folder / "flipped.bin")); });
        EXPECT_EQ(refusal.exit_code, kIo) << "bit " << bit;
        EXPECT_THAT(refusal.message, HasSubstr("flipped.bin: error: "));
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
}

TEST(TokenFile, DamageIsFoundWhereItIsReadAndNowhereElse) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(100000, 1000);  // four blocks of 32768
    test::write_shard(folder / "shard.bin", tokens, 1000);
    std::string bytes = test::read_file(folder / "shard.bin");
    bytes[64 + 2 * 40000] ^= 1;
    test::write_file(folder / "shard.bin", bytes);
    const TokenFile file = TokenFile::open(folder / "shard.bin");
    std::vector<std::int32_t> part(100);
    EXPECT_NO_THROW(file.copy(0, part));
    EXPECT_NO_THROW(file.copy(70000, part));
    for (int attempt = 0; attempt < 2; ++attempt) {
        const auto refusal = refusal_of([&] {
            file.copy(32700, part);
            return 0;
        });
        EXPECT_THAT(refusal.message,
                    HasSubstr("the checksum of tokens 32768 to 65535 does not match"));
    }
    EXPECT_EQ(refusal_of([&] {
                  file.verify();
                  return 0;
              }).exit_code,
              kIo);
}

TEST(TokenFile, DamagedLlmCFilesAreRefused) {
    const TemporaryDirectory folder;
    const std::string whole = test::llmc_bytes(20240520, 1, test::random_tokens(100, 1000), true);
    for (const std::size_t length : {4U, 12U, 1000U, 1024U, 1025U, 1222U, 1223U}) {
        test::write_file(folder / "cut.bin", whole.substr(0, length));
        EXPECT_THAT(refusal_to_open(folder / "cut.bin").message, HasSubstr("truncated")) << length;
    }
    test::write_file(folder / "long.bin", whole + "xx");
    EXPECT_THAT(refusal_to_open(folder / "long.bin").message, HasSubstr("longer"));
    test::write_file(folder / "version.bin", test::llmc_bytes(20240520, 7, {1, 2}, true));
    EXPECT_THAT(refusal_to_open(folder / "version.bin").message, HasSubstr("version 7"));
    test::write_file(folder / "none.bin", test::llmc_bytes(20240520, 1, {}, true));
    EXPECT_THAT(refusal_to_open(folder / "none.bin").message, HasSubstr("no tokens"));
    test::write_file(folder / "model.bin", test::llmc_bytes(20240326, 3, {1, 2}, true));
    EXPECT_THAT(refusal_to_open(folder / "model.bin").message,
                HasSubstr("an llm.c model checkpoint, not tokens"));
}

TEST(TokenFile, OtherFilesAreRefusedWithAReason) {
    const TemporaryDirectory folder;
    test::write_file(folder / "empty.bin", "");
    EXPECT_THAT(refusal_to_open(folder / "empty.bin").message, HasSubstr("the file is empty"));
    test::write_file(folder / "odd.bin", "abc");
    EXPECT_THAT(refusal_to_open(folder / "odd.bin").message,
                HasSubstr("not a whole number of uint16"));
    test::write_file(folder / "text.txt", "some text here");
    EXPECT_THAT(refusal_to_open(folder / "text.txt").message, HasSubstr("train prepare-data"));
    EXPECT_THAT(refusal_to_open(folder / "odt.bin").message, HasSubstr("did you mean"));
    EXPECT_THAT(refusal_to_open(folder.path()).message, HasSubstr("folder, not a file"));
    EXPECT_THAT(refusal_to_open(folder / "missing/x.bin").message, HasSubstr("there is no folder"));
}

TEST(TokenFile, PipesAndDevicesAreRefusedWithoutWaiting) {
    const TemporaryDirectory folder;
    ASSERT_EQ(::mkfifo((folder / "pipe.bin").c_str(), 0600), 0);
    std::filesystem::create_symlink("/dev/zero", folder / "zero.bin");
    for (const auto& [name, kind] :
         {std::pair("pipe.bin", "pipe"), std::pair("zero.bin", "device")}) {
        const auto refusal = refusal_to_open(folder / name);
        EXPECT_EQ(refusal.exit_code, kIo);
        EXPECT_THAT(refusal.message, HasSubstr(name));
        EXPECT_THAT(refusal.message, HasSubstr(kind));
    }
}

/// As when the file is prepared again below a run; a mapping would end the process by SIGBUS.
TEST(TokenFile, TruncatedWhileInUseIsAnIoErrorNamingTheFile) {
    const TemporaryDirectory folder;
    const auto tokens = test::random_tokens(100'000, 50);
    test::write_shard(folder / "own.bin", tokens, 50);
    test::write_file(folder / "bare.bin", test::bytes_of<std::uint16_t>(tokens));
    for (const char* name : {"own.bin", "bare.bin"}) {
        const TokenFile file = TokenFile::open(folder / name);
        std::filesystem::resize_file(folder / name, 4096);
        const auto refusal = refusal_of([&] { return test::all_tokens(file).size(); });
        EXPECT_EQ(refusal.exit_code, kIo);
        EXPECT_THAT(refusal.message, HasSubstr(name));
        EXPECT_THAT(refusal.message, HasSubstr("truncated while it was in use"));
    }
}

/// A limit on the size of a file fails the write as a full disk does.
TEST(TokenFileWriter, FullDiskIsAnIoErrorNamingTheFile) {
    const TemporaryDirectory folder;
    struct rlimit before {};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limited = {.rlim_cur = 100'000, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
    const auto refusal = refusal_of([&] {
        TokenFileWriter writer(folder / "x.bin", {.vocab_size = 10});
        writer.append(test::random_tokens(100000, 10));
        writer.finish();
        return 0;
    });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
    EXPECT_EQ(refusal.exit_code, kIo);
    EXPECT_THAT(refusal.message, HasSubstr("x.bin"));
    EXPECT_THAT(refusal.message, HasSubstr("File too large"));
}

TEST(TokenFileWriter, WritesNeitherThroughLinksNorToDevices) {
    const TemporaryDirectory folder;
    test::write_file(folder / "precious", "precious");
    std::filesystem::create_symlink(folder / "precious", folder / "x.bin");
    test::write_shard(folder / "x.bin", test::random_tokens(100, 10), 10);
    EXPECT_EQ(test::read_file(folder / "precious"), "precious");
    EXPECT_EQ(TokenFile::open(folder / "x.bin").size(), 100U);
    EXPECT_THAT(
        refusal_of([] { return TokenFileWriter("/dev/null", {.vocab_size = 10}).size(); }).message,
        HasSubstr("device"));
}

TEST(TokenFileWriter, RefusesTokensOutsideTheVocabulary) {
    const TemporaryDirectory folder;
    TokenFileWriter writer(folder / "x.bin", {.vocab_size = 10});
    for (const std::int32_t token : {-1, 10, 70000}) {
        EXPECT_THROW(writer.append(std::span(&token, 1)), IoError);
    }
}

TEST(TokenFileWriter, UnfinishedFileIsNoShard) {
    const TemporaryDirectory folder;
    {
        TokenFileWriter writer(folder / "x.tokens", {.vocab_size = 10});
        writer.append(test::random_tokens(100000, 10));
    }
    EXPECT_EQ(refusal_to_open(folder / "x.tokens").exit_code, kIo);
}

}  // namespace
}  // namespace isoflop::data
