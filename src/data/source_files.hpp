// Finds the token files that a source's location names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/data/split.hpp"

namespace isoflop::data {

struct SourceFiles {
    std::vector<std::filesystem::path> files{};
    std::vector<std::uint64_t> expected_tokens{};   ///< as meta.json says; empty without one
    std::optional<std::uint64_t> tokenizer_hash{};  ///< as meta.json says
    std::filesystem::path tokenizer_folder{};       ///< with a meta.json; empty when there is none
};

/// Throws IoError when nothing matches or a meta.json is damaged.
[[nodiscard]] SourceFiles find_source_files(const std::string& location, Split split);

/// "train_2" before "train_10": runs of digits compare as numbers.
[[nodiscard]] bool natural_less(const std::string& left, const std::string& right);

}  // namespace isoflop::data
