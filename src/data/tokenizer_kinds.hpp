// What the sources of the tokenizers share: building each kind from its JSON, and training
// SentencePiece.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/data/tokenizer.hpp"

namespace isoflop::data {

inline constexpr const char* kModelFileName = "tokenizer.model";
inline constexpr const char* kMetaFileName = "meta.json";

/// Throw IoError naming `file_name` when the JSON is not what to_json() gives.
[[nodiscard]] std::unique_ptr<Tokenizer> char_tokenizer_from_json(const nlohmann::json& json,
                                                                  const std::string& file_name);

/// Throws a ConfigError that explains how to get a build with SentencePiece.
[[noreturn]] void fail_without_sentencepiece(std::string_view wanted);

/// A model from pieces of text of at most a few thousand bytes each (longer ones are left out by
/// the library). Throws ConfigError when the text does not support so large, or needs a larger,
/// vocabulary.
[[nodiscard]] std::unique_ptr<Tokenizer> train_sentencepiece(
    const std::vector<std::string>& sentences, std::int64_t vocab_size);

}  // namespace isoflop::data
