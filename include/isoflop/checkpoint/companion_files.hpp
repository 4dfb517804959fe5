// What comes with a Hugging Face model beside its weights: tokenizer, special tokens, chat template
// and defaults of generation. These files go from an import to the folder of a run and from there
// to an export, and say how a text begins and ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace isoflop::checkpoint {

/// The folder of these files in a run.
inline constexpr const char* kCompanionFolder = "hugging_face";

/// Tokenizer and generation files that the folder of a model holds, without its config.json.
[[nodiscard]] std::vector<std::filesystem::path> companion_files(
    const std::filesystem::path& directory);

/// Where they are for a Hugging Face folder, a run or a checkpoint of a run; empty when there are
/// none.
[[nodiscard]] std::filesystem::path companion_folder(const std::filesystem::path& model);

/// Copies them and config.json, which has the ids of special tokens, into a folder that is made.
void copy_companion_files(const std::filesystem::path& from, const std::filesystem::path& to);

/// Tokens that begin, end and fill a text.
struct SpecialTokens {
    std::optional<std::int64_t> beginning = {};
    std::filesystem::path beginning_file = {};  ///< that says so
    std::vector<std::int64_t> ends = {};        ///< each of them ends the text
    std::optional<std::int64_t> padding = {};
    bool begins_texts = false;  ///< whether the tokenizer puts `beginning` before a text
};

/// As generation_config.json, config.json and tokenizer_config.json of such a folder say. Throws
/// IoError when one of them is damaged.
[[nodiscard]] SpecialTokens special_tokens(const std::filesystem::path& companions);

}  // namespace isoflop::checkpoint
