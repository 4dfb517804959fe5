// What comes with a Hugging Face model, and what its files say about special tokens.
#include "isoflop/checkpoint/companion_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint_test_support.hpp"

namespace isoflop::checkpoint {
namespace {

using test::error_of;
using test::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CompanionFiles, AreFoundBesideTheModelInTheRunAndFromItsCheckpoints) {
    const TemporaryDirectory folder;
    const auto run = folder.path() / "run";
    const auto step = run / "checkpoints" / "step_00000001";
    std::filesystem::create_directories(step);
    EXPECT_EQ(companion_folder(run), "");
    EXPECT_EQ(companion_folder(step), "");
    const auto published = folder.path() / "published";
    std::filesystem::create_directory(published);
    for (const char* name : {"config.json", "tokenizer.json", "generation_config.json",
                             "model.safetensors", "README.md"})
        test::write_file(published / name, name);
    EXPECT_EQ(companion_folder(published), published);
    copy_companion_files(published, run / kCompanionFolder);
    EXPECT_EQ(companion_folder(run), run / kCompanionFolder);
    EXPECT_TRUE(std::filesystem::equivalent(companion_folder(step), run / kCompanionFolder));
    EXPECT_EQ(test::read_file(run / kCompanionFolder / "tokenizer.json"), "tokenizer.json");
    EXPECT_EQ(test::read_file(run / kCompanionFolder / "config.json"), "config.json");
    EXPECT_FALSE(std::filesystem::exists(run / kCompanionFolder / "model.safetensors"));
    EXPECT_EQ(companion_files(run / kCompanionFolder).size(), 2U);
}

class SpecialTokensOf : public ::testing::Test {
protected:
    SpecialTokens read(const std::string& config, const std::string& generation = "",
                       const std::string& tokenizer = "") {
        put("config.json", config);
        put("generation_config.json", generation);
        put("tokenizer_config.json", tokenizer);
        return special_tokens(folder_.path());
    }
    void put(const char* name, const std::string& text) {
        std::filesystem::remove(folder_.path() / name);
        if (!text.empty()) test::write_file(folder_.path() / name, text);
    }
    TemporaryDirectory folder_;
};

TEST_F(SpecialTokensOf, GenerationConfigComesBeforeConfig) {
    const auto tokens = read(R"({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": null})",
                             R"({"eos_token_id": [128001, 128009], "pad_token_id": 0})");
    EXPECT_EQ(tokens.beginning, 1);
    EXPECT_THAT(tokens.ends, ElementsAre(128001, 128009));
    EXPECT_EQ(tokens.padding, 0);
    EXPECT_FALSE(tokens.begins_texts);
    EXPECT_THAT(read(R"({"eos_token_id": 2})").ends, ElementsAre(2));
    EXPECT_THAT(read("{}").ends, IsEmpty());
    EXPECT_EQ(read(R"({"pad_token_id": -1})").padding, std::nullopt);
}

TEST_F(SpecialTokensOf, TheTokenizerSaysWhetherTextsHaveABeginning) {
    const std::string config = R"({"bos_token_id": 1})";
    EXPECT_TRUE(read(config, "", R"({"tokenizer_class": "LlamaTokenizer"})").begins_texts);
    EXPECT_FALSE(read(config, "", R"({"tokenizer_class": "GPT2Tokenizer"})").begins_texts);
    EXPECT_FALSE(
        read(config, "", R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})")
            .begins_texts);
    EXPECT_TRUE(read(config, "", R"({"add_bos_token": true})").begins_texts);
    EXPECT_FALSE(read("{}", "", R"({"add_bos_token": true})").begins_texts) << "there is none";
}

TEST_F(SpecialTokensOf, DamageNamesTheFile) {
    EXPECT_THAT(error_of([&] { (void)read(R"({"eos_token_id": "two"})"); }),
                HasSubstr("config.json' is damaged: eos_token_id"));
    EXPECT_THAT(error_of([&] { (void)read("{}", R"({"eos_token_id": [1, 1e300]})"); }),
                HasSubstr("generation_config.json"));
    EXPECT_THAT(error_of([&] { (void)read(R"({"bos_token_id": 1})", "", "[1"); }),
                HasSubstr("tokenizer_config.json"));
}

}  // namespace
}  // namespace isoflop::checkpoint
