// Tokenizer files beside an exported model, in the forms that AutoTokenizer reads.
#pragma once

#include <filesystem>

#include "isoflop/checkpoint/hugging_face.hpp"

namespace isoflop::checkpoint {

/// Throws IoError when a file cannot be copied, ConfigError for a characters table with duplicates.
void write_tokenizer_files(const TokenizerInformation& tokenizer,
                           const std::filesystem::path& directory);

}  // namespace isoflop::checkpoint
