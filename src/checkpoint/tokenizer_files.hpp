// Tokenizer files beside an exported model, in the forms that AutoTokenizer reads.
#pragma once

#include <filesystem>
#include <vector>

#include "isoflop/checkpoint/hugging_face.hpp"

namespace isoflop::checkpoint {

/// Throws IoError when a file cannot be copied, ConfigError for a characters table with duplicates.
void write_tokenizer_files(const TokenizerInformation& tokenizer,
                           const std::filesystem::path& directory);

/// The tokenizer files of a Hugging Face folder.
[[nodiscard]] std::vector<std::filesystem::path> find_tokenizer_files(
    const std::filesystem::path& directory);

}  // namespace isoflop::checkpoint
