#include "isoflop/data/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "data/data_test_support.hpp"

namespace isoflop::data {
namespace {

using test::refusal_of;
using test::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

std::string random_bytes(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::string bytes(count, '\0');
    for (char& byte : bytes) byte = static_cast<char>(generator());
    return bytes;
}

std::unique_ptr<Tokenizer> char_tokenizer(bool with_end_of_text = false) {
    return make_char_tokenizer({U'b', U'a', U'\n', U'é', U'a', U'😀'}, with_end_of_text);
}

/// The text as a stream decoder gives it, token after token.
std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens) {
    StreamDecoder decoder(tokenizer);
    std::string text;
    for (const std::int32_t token : tokens) text += decoder.push(token);
    return text + decoder.finish();
}

TEST(ByteTokenizer, TakesAnyBytes) {
    const auto tokenizer = make_byte_tokenizer();
    EXPECT_EQ(tokenizer->vocab_size(), 257);
    EXPECT_EQ(tokenizer->end_of_text(), 256);
    for (unsigned seed = 0; seed < 20; ++seed) {
        const std::string bytes = random_bytes(1000, seed);
        EXPECT_EQ(tokenizer->decode_bytes(tokenizer->encode(bytes)), bytes);
        EXPECT_EQ(tokenizer->stream_boundary(bytes), bytes.size());
    }
}

TEST(ByteTokenizer, DecodedTextIsAlwaysUtf8) {
    const auto tokenizer = make_byte_tokenizer();
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xFF"
                                                  "b\xC3")),
              "a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD");
    for (unsigned seed = 0; seed < 50; ++seed) {
        const auto tokens = tokenizer->encode(random_bytes(200, seed));
        EXPECT_NO_THROW((void)nlohmann::json(tokenizer->decode(tokens)).dump());
        EXPECT_EQ(streamed(*tokenizer, tokens), tokenizer->decode(tokens));
    }
}

TEST(ByteTokenizer, EndOfTextAndUnknownIdsGiveNothing) {
    const auto tokenizer = make_byte_tokenizer();
    EXPECT_EQ(tokenizer->decode_bytes(std::vector<std::int32_t>{-5, 'a', 256, 257, 1 << 30, 'b'}),
              "ab");
}

TEST(StreamDecoder, HoldsBackAnIncompleteCharacter) {
    const auto tokenizer = make_byte_tokenizer();
    StreamDecoder decoder(*tokenizer);
    EXPECT_EQ(decoder.push('x'), "x");
    EXPECT_EQ(decoder.push(0xF0), "");
    EXPECT_EQ(decoder.push(0x9F), "");
    EXPECT_EQ(decoder.push(0x98), "");
    EXPECT_EQ(decoder.push(0x80), "😀");
    EXPECT_EQ(decoder.push(0xE2), "");
    EXPECT_EQ(decoder.push('y'), "\xEF\xBF\xBDy");
    EXPECT_EQ(decoder.push(0xC3), "");
    EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
    EXPECT_EQ(decoder.finish(), "");
}

TEST(CharTokenizer, NumbersCodePointsInOrder) {
    const auto tokenizer = char_tokenizer();
    EXPECT_EQ(tokenizer->vocab_size(), 5);
    EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
    EXPECT_THAT(tokenizer->encode("\nabé😀"), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("b😀é\na")), "b😀é\na");
    EXPECT_EQ(streamed(*tokenizer, tokenizer->encode("b😀é\na")), "b😀é\na");
    EXPECT_EQ(char_tokenizer(true)->end_of_text(), 5);
    EXPECT_EQ(char_tokenizer(true)->vocab_size(), 6);
}

TEST(CharTokenizer, RefusesWhatItDoesNotKnowWithTheByteOffset) {
    const auto tokenizer = char_tokenizer();
    const auto message_for = [&](std::string_view text) {
        const auto refusal = refusal_of([&] { return tokenizer->encode(text); });
        EXPECT_EQ(refusal.exit_code, 2);
        return refusal.message;
    };
    EXPECT_THAT(message_for("abz"),
                HasSubstr("'z', which is not in the vocabulary of 5 symbols, at byte 2"));
    EXPECT_THAT(message_for("é\u2014"), HasSubstr("U+2014"));
    EXPECT_THAT(message_for("ab\xFF"), HasSubstr("invalid UTF-8 (byte 0xFF) at byte 2"));
    EXPECT_THAT(message_for("ab\xC3"), HasSubstr("at byte 2"));
}

TEST(CharTokenizer, StreamBoundaryNeverCutsACharacter) {
    const auto tokenizer = char_tokenizer();
    const std::string text = "ab😀é";
    EXPECT_EQ(tokenizer->stream_boundary(text), text.size());
    for (std::size_t missing = 1; missing <= 3; ++missing) {
        EXPECT_EQ(tokenizer->stream_boundary(std::string("ab😀").substr(0, 6 - missing)), 2U);
    }
    EXPECT_EQ(tokenizer->stream_boundary("a\x80"), 2U);  // damaged, which encode() then says
    EXPECT_EQ(tokenizer->stream_boundary("\x80\x80\x80\x80"), 4U);
}

TEST(Tokenizer, JsonRoundTripKeepsTheHash) {
    const TemporaryDirectory folder;
    std::vector<std::unique_ptr<Tokenizer>> tokenizers;
    tokenizers.push_back(make_byte_tokenizer());
    tokenizers.push_back(char_tokenizer(false));
    tokenizers.push_back(char_tokenizer(true));
    tokenizers.push_back(make_char_tokenizer({U'\0', U'"', U'\u2028', U'\U0010FFFF'}, false));
    for (const auto& tokenizer : tokenizers) {
        save_tokenizer(*tokenizer, folder.path());
        const auto loaded = load_tokenizer(folder.path());
        EXPECT_EQ(loaded->to_json(), tokenizer->to_json());
        EXPECT_EQ(loaded->hash(), tokenizer->hash());
        EXPECT_NE(loaded->hash(), 0U);
        for (const auto& other : tokenizers) {
            if (other == tokenizer) continue;
            EXPECT_NE(other->hash(), tokenizer->hash());
        }
    }
}

TEST(Tokenizer, DamagedFilesAreIoErrorsNamingTheFile) {
    const TemporaryDirectory folder;
    EXPECT_THAT(refusal_of([&] { return load_tokenizer(folder.path()); }).message,
                HasSubstr("holds no tokenizer"));
    for (const char* text :
         {"", "{", "[]", "{}", R"({"type": 3})", R"({"type": "bytes"})", R"({"type": "char"})",
          R"({"type": "char", "symbols": [], "end_of_text": false})",
          R"({"type": "char", "symbols": ["ab"], "end_of_text": false})",
          R"({"type": "char", "symbols": ["b", "a"], "end_of_text": false})",
          R"({"type": "char", "symbols": ["a", 1], "end_of_text": false})",
          R"({"type": "char", "symbols": ["a"], "end_of_text": 1})"}) {
        test::write_file(folder / "tokenizer_isoflop.json", text);
        const auto refusal = refusal_of([&] { return load_tokenizer(folder.path()); });
        EXPECT_EQ(refusal.exit_code, 3) << text;
        EXPECT_THAT(refusal.message, HasSubstr("tokenizer_isoflop.json")) << text;
    }
}

}  // namespace
}  // namespace isoflop::data
