// With the SentencePiece library: train, prepare, load, decode. Without it: a clear error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if __has_include(<sentencepiece_trainer.h>)
#include <sentencepiece_trainer.h>
#endif

#include "data/data_test_support.hpp"
#include "isoflop/data/builtin_corpus.hpp"
#include "isoflop/data/prepare.hpp"
#include "isoflop/data/token_dataset.hpp"

namespace isoflop::data {
namespace {

using test::refusal_of;
using test::TemporaryDirectory;
using testing::HasSubstr;

std::vector<std::int32_t> tokens_of(const std::filesystem::path& folder, Split split) {
    const TokenSource source = TokenSource::open(folder.string(), split);
    std::vector<std::int32_t> tokens(source.size());
    source.copy(0, tokens);
    return tokens;
}

class SentencePiece : public testing::Test {
protected:
    void SetUp() override {
        if (!has_sentencepiece()) GTEST_SKIP() << "this build has no SentencePiece library";
        for (std::uint64_t index = 0; index < 1500; ++index) text_ += builtin_document(index);
        text_ += "Unusual: é \xE6\x97\xA5\xE6\x9C\xAC 😀  two  spaces\t tab\n";
        test::write_file(folder_ / "input", text_);
    }

    PrepareReport prepare(const std::string& tokenizer, const char* out) {
        return prepare_data({.input = (folder_ / "input").string(),
                             .tokenizer = tokenizer,
                             .output_directory = folder_ / out});
    }

    TemporaryDirectory folder_;
    std::string text_;
};

TEST_F(SentencePiece, TrainedModelGivesTheTextBack) {
    const PrepareReport report = prepare("sentencepiece-train:500", "out");
    EXPECT_EQ(report.vocab_size, 500);
    EXPECT_LT(report.train_tokens + report.validation_tokens, text_.size());
    auto tokens = tokens_of(folder_ / "out", Split::train);
    const auto rest = tokens_of(folder_ / "out", Split::validation);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    const auto tokenizer = load_tokenizer(folder_ / "out");
    EXPECT_EQ(tokenizer->decode_bytes(tokens), text_);
    EXPECT_EQ(tokenizer->encode(text_), tokens);  // cutting the stream changed nothing
    EXPECT_EQ(tokenizer->hash(),
              TokenSource::open((folder_ / "out").string(), Split::train).tokenizer_hash());
    ASSERT_TRUE(tokenizer->end_of_text());
}

TEST_F(SentencePiece, StreamDecoderEqualsDecode) {
    (void)prepare("sentencepiece-train:500", "out");
    const auto tokenizer = load_tokenizer(folder_ / "out");
    const std::string text = "The fox sees 😀 and\n\n  \xE6\x97\xA5.";
    StreamDecoder decoder(*tokenizer);
    std::string streamed;
    for (const std::int32_t token : tokenizer->encode(text)) streamed += decoder.push(token);
    EXPECT_EQ(streamed + decoder.finish(), text);
}

TEST_F(SentencePiece, ModelFileCanBeUsedAgain) {
    (void)prepare("sentencepiece-train:400", "first");
    (void)prepare("sentencepiece:" + (folder_ / "first/tokenizer.model").string(), "second");
    EXPECT_EQ(tokens_of(folder_ / "first", Split::train),
              tokens_of(folder_ / "second", Split::train));
    const auto tokenizer = load_tokenizer(folder_ / "second");
    std::filesystem::create_directory(folder_ / "checkpoint");
    save_tokenizer(*tokenizer, folder_ / "checkpoint");
    EXPECT_EQ(load_tokenizer(folder_ / "checkpoint")->hash(), tokenizer->hash());
}

TEST_F(SentencePiece, SampleOfTheTextIsEnough) {
    const PrepareReport report = prepare_data({.input = (folder_ / "input").string(),
                                               .tokenizer = "sentencepiece-train:400",
                                               .output_directory = folder_ / "out",
                                               .tokenizer_sample_bytes = 50'000});
    EXPECT_EQ(report.vocab_size, 400);
}

TEST_F(SentencePiece, InvalidUtf8IsReplacedAndCounted) {
    (void)prepare("sentencepiece-train:400", "model");
    test::write_file(folder_ / "input", "The fox\xFF sees the \xC3 dog.\nThe end\xE2\x96");
    const PrepareReport report =
        prepare("sentencepiece:" + (folder_ / "model/tokenizer.model").string(), "out");
    EXPECT_EQ(report.replaced_bytes, 4U);
    EXPECT_THAT(report.to_text(), HasSubstr("4 bytes are not UTF-8"));
}

TEST_F(SentencePiece, VocabularyThatTheTextCannotFillIsAUsageError) {
    test::write_file(folder_ / "input", "too little text\n");
    const auto refusal = refusal_of([&] { return prepare("sentencepiece-train:30000", "out"); });
    EXPECT_EQ(refusal.exit_code, 2);
    EXPECT_THAT(refusal.message, HasSubstr("sentencepiece-train:30000 failed on this text"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(SentencePiece, DamagedModelIsAnIoError) {
    test::write_file(folder_ / "broken.model", "this is no model");
    const auto refusal = refusal_of([&] { return load_sentencepiece(folder_ / "broken.model"); });
    EXPECT_EQ(refusal.exit_code, 3);
    EXPECT_THAT(refusal.message, HasSubstr("broken.model: error: no SentencePiece model"));
    EXPECT_EQ(refusal_of([&] { return load_sentencepiece(folder_ / "missing.model"); }).exit_code,
              3);
}

#if __has_include(<sentencepiece_trainer.h>)
/// Models as they are published: a space before the text (Llama), unigram, normalised text.
struct Model {
    std::string name;
    std::string arguments;
    bool gives_text_back = true;
    /// Not of unigram: the library adds scores in single precision from the beginning of the text,
    /// so that what is far away decides between ways of equal score.
    bool gives_tokens_back = true;
};

class PublishedModels : public testing::TestWithParam<Model> {
protected:
    /// Chinese, and text in which every line is long: without newlines.
    static std::string text_of(std::size_t bytes) {
        const std::array<std::string, 9> words = {"\xE6\x97\xA5\xE6\x9C\xAC",
                                                  "\xE4\xB8\xAD\xE5\x9B\xBD",
                                                  "\xE4\xBA\xBA\xE6\xB0\x91",
                                                  "\xEF\xBC\x8C",
                                                  " the",
                                                  " a  fox",
                                                  "\xE3\x80\x82",
                                                  "jumps",
                                                  "\xE5\xA4\xA7\xE5\xAD\xA6"};
        std::mt19937 generator(7);
        std::string text = "the";
        while (text.size() < bytes) text += words[generator() % words.size()];
        return text;
    }

    /// Trains on parts of the text, and writes the model.
    std::string model_file() {
        std::string sentences;
        const std::string text = text_of(30'000);
        for (std::size_t begin = 0; begin < text.size(); begin += 300) {
            std::string part = text.substr(begin, 300);
            while (!part.empty() && (static_cast<unsigned char>(part.front()) & 0xC0U) == 0x80U)
                part.erase(0, 1);
            sentences += part.substr(0, part.size() - 6) + "\n";
        }
        test::write_file(folder_ / "sentences", replace_invalid(sentences));
        const auto status = sentencepiece::SentencePieceTrainer::Train(
            "--input=" + (folder_ / "sentences").string() + " --model_prefix=" +
            (folder_ / "model").string() + " --minloglevel=2 " + GetParam().arguments);
        EXPECT_TRUE(status.ok()) << status.ToString();
        return (folder_ / "model.model").string();
    }

    static std::string replace_invalid(const std::string& text) {
        const std::string_view bytes = text;
        std::string valid;
        for (std::size_t offset = 0; offset < bytes.size();) {
            const auto lead = static_cast<unsigned char>(bytes[offset]);
            const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
            const std::string_view one = bytes.substr(offset, length);
            const bool whole =
                one.size() == length && one.find_first_of("\n ", 1) == std::string_view::npos;
            if (whole) valid += one;
            offset += whole ? length : 1;
        }
        return valid;
    }

    TemporaryDirectory folder_;
};

TEST_P(PublishedModels, TheTokensOfAFileAreThoseOfItsText) {
    const std::string text = text_of(140'000);
    test::write_file(folder_ / "input", text);
    const auto report = prepare_data({.input = (folder_ / "input").string(),
                                      .tokenizer = "sentencepiece:" + model_file(),
                                      .validation_fraction = 0,
                                      .output_directory = folder_ / "out"});
    const auto tokens = tokens_of(folder_ / "out", Split::train);
    const auto tokenizer = load_tokenizer(folder_ / "out");
    EXPECT_EQ(tokens.size(), report.train_tokens);
    if (GetParam().gives_tokens_back) {
        EXPECT_TRUE(tokens == tokenizer->encode(text));
    }
    if (GetParam().gives_text_back) {
        EXPECT_TRUE(tokenizer->decode(tokens) == text);
    }
}

TEST_P(PublishedModels, TextThatGoesOnKeepsItsFirstSpace) {
    const auto tokenizer = load_sentencepiece(model_file());
    const auto tokens = tokenizer->encode("the fox jumps");
    const auto prompt = tokenizer->encode("the");
    ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), tokens.begin()));
    StreamDecoder decoder(*tokenizer, prompt.back());
    std::string text;
    for (std::size_t i = prompt.size(); i < tokens.size(); ++i) text += decoder.push(tokens[i]);
    EXPECT_EQ(text + decoder.finish(), " fox jumps");
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, PublishedModels,
    testing::Values(Model{"Llama",
                          "--model_type=bpe --vocab_size=400 --byte_fallback=true "
                          "--normalization_rule_name=identity --remove_extra_whitespaces=false"},
                    Model{"Unigram",
                          "--model_type=unigram --vocab_size=60 --hard_vocab_limit=false "
                          "--normalization_rule_name=identity --remove_extra_whitespaces=false",
                          true, false},
                    Model{"Normalised", "--model_type=bpe --vocab_size=80 --hard_vocab_limit=false",
                          false}),
    [](const auto& instance) { return instance.param.name; });
#endif

TEST(WithoutSentencePiece, SaysWhatToInstall) {
    if (has_sentencepiece()) GTEST_SKIP() << "this build has the SentencePiece library";
    const TemporaryDirectory folder;
    test::write_file(folder / "input", "text");
    for (const char* tokenizer : {"sentencepiece:x.model", "sentencepiece-train:500"}) {
        const auto refusal = refusal_of([&] {
            return prepare_data({.input = (folder / "input").string(),
                                 .tokenizer = tokenizer,
                                 .output_directory = folder / "out"});
        });
        EXPECT_EQ(refusal.exit_code, 2);
        EXPECT_THAT(refusal.message, HasSubstr("libsentencepiece-dev"));
    }
    EXPECT_EQ(refusal_of([] { return load_sentencepiece("x.model"); }).exit_code, 2);
}

}  // namespace
}  // namespace isoflop::data
