// Text for the user: spelling suggestions, and numbers with units.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace isoflop {

/// Optimal string alignment distance (insert, delete, substitute, swap neighbours),
/// case-insensitive.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate closest to `word`, when close enough to be a plausible misspelling
/// (distance <= max(2, length / 3), and not everything differs). The first of equally close ones.
[[nodiscard]] std::optional<std::string_view> nearest_spelling(
    std::string_view word, std::span<const std::string_view> candidates);

/// "; did you mean 'x'?" or empty.
[[nodiscard]] std::string suggestion(std::string_view word,
                                     std::span<const std::string_view> candidates);

/// "a, b, c"
[[nodiscard]] std::string join(std::span<const std::string_view> words,
                               std::string_view separator = ", ");

[[nodiscard]] std::string to_lower(std::string_view text);

/// Without blanks, tabs and line breaks at its ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

/// 1234567 -> "1,234,567"
[[nodiscard]] std::string with_separators(std::int64_t value);

/// Counts for people: 6885871616 -> "6.89B", 950 -> "950" (K, M, B, T; two decimals); larger counts
/// with an exponent.
[[nodiscard]] std::string human_count(double count);

/// FLOP totals: 9.23e+21.
[[nodiscard]] std::string human_flops(double flops);

/// Bytes in GiB (2^30) with two decimals: "78.65 GiB"; below 0.01 GiB in MiB or KiB.
[[nodiscard]] std::string human_bytes(double bytes);

/// Durations: "12.3 s", "4.5 h", "30.0 days" (us, ms, s, min, h, days, years).
[[nodiscard]] std::string human_seconds(double seconds);

inline constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

}  // namespace isoflop
