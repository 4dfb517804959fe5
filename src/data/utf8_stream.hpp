// UTF-8 that arrives in pieces, or is damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace isoflop::data {

/// Bytes at the end of `text` that may be the beginning of a code point (0 to 3).
[[nodiscard]] std::size_t incomplete_suffix(std::string_view text);

/// Each byte that is not part of a code point becomes U+FFFD; `replaced`, if given, is increased by
/// their number.
[[nodiscard]] std::string replace_invalid_utf8(std::string_view text,
                                               std::uint64_t* replaced = nullptr);

}  // namespace isoflop::data
