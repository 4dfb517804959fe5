// The data of a run: one or more sources, each a concatenation of token files (or the built-in
// corpus) with a mixing weight. A source is named by
//   data/web/train_*.bin    a glob (or one file); files in natural order (train_2 before train_10)
//   data/shakespeare        a folder: the shards its meta.json lists, or train*.bin / val*.bin as
//                           nanoGPT has them, or *_train*.bin / *_val*.bin as llm.c has them
//   builtin                 the built-in corpus
// Windows of block_size + 1 tokens begin every block_size tokens, so each token but the first is a
// target once; they may cross documents and shards, never sources.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/data/split.hpp"
#include "isoflop/data/token_file.hpp"
#include "isoflop/data/tokenizer.hpp"

namespace isoflop::data {

struct SourceSpec {
    std::string location{};
    /// Share of the samples; without any weights, by number of tokens.
    std::optional<double> weight{};
};

/// "data/web@0.7, data/code@0.3" or "data/shakespeare". Throws ConfigError on an empty entry or a
/// bad weight.
[[nodiscard]] std::vector<SourceSpec> parse_sources(std::string_view text);

class TokenSource {
public:
    /// Throws IoError when nothing matches, when a file is damaged, or when files were made with
    /// different tokenizers.
    [[nodiscard]] static TokenSource open(const std::string& location, Split split);

    [[nodiscard]] const std::string& location() const { return location_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }  ///< tokens
    [[nodiscard]] std::uint64_t num_windows(std::int64_t block_size) const;
    [[nodiscard]] std::int64_t vocab_size() const { return vocab_size_; }  ///< 0 = unknown
    [[nodiscard]] std::uint64_t tokenizer_hash() const { return tokenizer_hash_; }
    [[nodiscard]] std::span<const TokenFile> files() const {
        return files_;
    }  ///< empty for the built-in corpus
    /// Loads the tokenizer that made these tokens; null when the data do not name it (llm.c and
    /// nanoGPT files). Throws ConfigError when it needs a library that this build lacks (training
    /// does not).
    [[nodiscard]] std::shared_ptr<const Tokenizer> tokenizer() const;

    /// What a person should know about this data; empty for most.
    [[nodiscard]] const std::string& note() const { return note_; }

    /// As TokenFile::copy, across shards.
    void copy(std::uint64_t first, std::span<std::int32_t> tokens,
              std::int64_t vocab_limit = 0) const;

private:
    std::string location_;
    std::vector<TokenFile> files_;
    std::vector<std::uint64_t> first_token_;  ///< of each file
    std::vector<std::uint16_t> builtin_;      ///< instead of files
    std::uint64_t size_ = 0;
    std::int64_t vocab_size_ = 0;
    std::uint64_t tokenizer_hash_ = 0;
    std::filesystem::path tokenizer_folder_;  ///< with the meta.json; empty when there is none
    std::string note_;
};

class TokenDataset {
public:
    /// Throws ConfigError on weights that are not positive, or given for some sources only; IoError
    /// as TokenSource.
    [[nodiscard]] static TokenDataset open(std::span<const SourceSpec> sources, Split split);
    [[nodiscard]] static TokenDataset open(std::string_view sources, Split split);

    [[nodiscard]] std::span<const TokenSource> sources() const { return sources_; }
    [[nodiscard]] std::span<const double> weights() const { return weights_; }  ///< sum 1
    [[nodiscard]] std::uint64_t size() const;                                   ///< tokens
    [[nodiscard]] std::uint64_t num_windows(
        std::int64_t block_size) const;  ///< summed over sources
    /// the largest of the sources; 0 if unknown
    [[nodiscard]] std::int64_t vocab_size() const;
    [[nodiscard]] std::uint64_t tokenizer_hash() const;                ///< 0 if unknown
    [[nodiscard]] std::shared_ptr<const Tokenizer> tokenizer() const;  ///< null if unknown

    /// After this call a token outside the vocabulary of the model is an IoError that names file
    /// and position. Throws ConfigError when the data's own vocabulary is known to be larger.
    void set_model_vocab_size(std::int64_t model_vocab_size);

    void copy(std::size_t source, std::uint64_t first, std::span<std::int32_t> tokens) const;

private:
    std::vector<TokenSource> sources_;
    std::vector<double> weights_;
    std::int64_t vocab_limit_ = 0;
};

}  // namespace isoflop::data
