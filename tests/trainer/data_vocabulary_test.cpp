// The planner's reader of a data set's vocabulary finds what the data layer finds.
#include "isoflop/recipe/data_vocabulary.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/data/prepare.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/data/token_file_writer.hpp"

namespace isoflop::trainer {
namespace {

namespace fs = std::filesystem;

recipe::DataKeys dataset(const std::string& name) {
    recipe::DataKeys keys;
    keys.dataset = name;
    return keys;
}

recipe::DataKeys sources(const std::string& text) {
    recipe::DataKeys keys;
    keys.train_data = text;
    return keys;
}

class DataVocabulary : public ::testing::Test {
protected:
    DataVocabulary()
        : folder_(fs::temp_directory_path() / ("isoflop-vocabulary-" + std::to_string(getpid()))) {
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    ~DataVocabulary() override { fs::remove_all(folder_); }

    void write_tokens(const fs::path& path, std::int64_t vocab_size) const {
        fs::create_directories(path.parent_path());
        data::TokenFileWriter writer(path, {.vocab_size = vocab_size, .tokenizer_hash = 0});
        std::vector<std::int32_t> tokens(8);
        std::iota(tokens.begin(), tokens.end(), 0);
        writer.append(tokens);
        writer.finish();
    }
    void expect_same(const recipe::DataKeys& keys, std::int64_t size) const {
        const std::string location = keys.train_data.empty() ? keys.dataset : keys.train_data;
        EXPECT_EQ(data::TokenDataset::open(location, data::Split::train).vocab_size(), size);
        EXPECT_EQ(recipe::data_vocab_size(keys), size) << location;
    }

    fs::path folder_;
};

TEST_F(DataVocabulary, OfTheBuiltinCorpus) {
    expect_same(recipe::DataKeys{}, 257);
}

TEST_F(DataVocabulary, OfPreparedText) {
    std::ofstream(folder_ / "text.txt") << std::string(500, 'a') + "bcdefgh\n";
    data::PrepareOptions options;
    options.input = (folder_ / "text.txt").string();
    options.tokenizer = "char";
    options.validation_fraction = 0.1;
    options.output_directory = (folder_ / "data").string();
    (void)data::prepare_data(options);
    const std::int64_t size =
        data::TokenDataset::open(options.output_directory.string(), data::Split::train)
            .vocab_size();
    EXPECT_GT(size, 5);
    expect_same(dataset(options.output_directory.string()), size);
}

TEST_F(DataVocabulary, OfFoldersFilesAndGlobs) {
    write_tokens(folder_ / "plain/train_0.bin", 50);
    write_tokens(folder_ / "plain/train_1.bin", 70);
    write_tokens(folder_ / "plain/val_0.bin", 900);
    write_tokens(folder_ / "prefixed/web_train_0.bin", 80);
    const std::string at = folder_.string();
    expect_same(dataset(at + "/plain"), 70);
    expect_same(dataset(at + "/prefixed"), 80);
    expect_same(sources(at + "/plain/train_0.bin"), 50);
    expect_same(sources(at + "/plain/train_*.bin@0.7, " + at + "/prefixed@0.3"), 80);
}

TEST_F(DataVocabulary, IsUnknownOfFilesOfOthers) {
    std::ofstream(folder_ / "train.bin", std::ios::binary) << std::string(64, '\1');
    expect_same(dataset(folder_.string()), 0);
}

TEST_F(DataVocabulary, MissingDataAreAnInputError) {
    EXPECT_THROW((void)recipe::data_vocab_size(dataset((folder_ / "none").string())), IoError);
    EXPECT_THROW((void)recipe::data_vocab_size(dataset(folder_.string())), IoError);
}

}  // namespace
}  // namespace isoflop::trainer
