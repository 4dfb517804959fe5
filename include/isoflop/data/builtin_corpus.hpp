// The built-in corpus: short documents of a seeded grammar, small sums, counting and spelling, so
// that `train` runs without data files and a small model visibly learns. Document i is a pure
// function of i: no file is needed and every machine sees the same bytes. Tokens are bytes, with
// 256 as the end of text between documents.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isoflop/data/split.hpp"

namespace isoflop::data {

inline constexpr std::uint64_t kBuiltinTrainTokens = 2'000'000;
inline constexpr std::uint64_t kBuiltinValidationTokens = 200'000;
inline constexpr std::int64_t kBuiltinVocabSize = 257;

/// A few lines of text, about 300 bytes.
[[nodiscard]] std::string builtin_document(std::uint64_t index);

/// Exactly kBuiltinTrainTokens or kBuiltinValidationTokens tokens; the splits share no document
/// number.
[[nodiscard]] std::vector<std::uint16_t> builtin_tokens(Split split);

}  // namespace isoflop::data
