// Spelling suggestions and numbers with units. All text is treated as bytes: keys, flags and file
// names are ASCII in practice, and a wrong guess on other text costs no more than a missing
// suggestion.
#include "isoflop/base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <vector>

namespace isoflop {
namespace {

char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

std::size_t length_difference(std::string_view a, std::string_view b) {
    return a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
}

struct Unit {
    double size;
    std::string_view name;
};

std::string digits_of(std::string_view text) {
    std::string digits;
    std::copy_if(text.begin(), text.end(), std::back_inserter(digits),
                 [](char letter) { return letter >= '0' && letter <= '9'; });
    return digits;
}

bool is_negated(std::string_view text) {
    while (text.starts_with('-')) text.remove_prefix(1);
    constexpr std::array<std::string_view, 4> kNegations = {"no", "not", "non", "disable"};
    const std::string_view first = text.substr(0, text.find_first_of("_-"));
    return first.size() < text.size() &&
           std::find(kNegations.begin(), kNegations.end(), first) != kNegations.end();
}

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    while (true) {
        const std::size_t end = text.find_first_of("_-");
        words.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return words;
        text.remove_prefix(end + 1);
    }
}

/// Words that are near in letters and far in meaning: "relu2" and "relu", "no_bias" and "bias",
/// "layer_norm_type" and "layer_norm_eps".
bool means_another(std::string_view word, std::string_view candidate) {
    if (digits_of(word) != digits_of(candidate) || is_negated(word) != is_negated(candidate))
        return true;
    const std::vector<std::string_view> mine = words_of(word);
    const std::vector<std::string_view> theirs = words_of(candidate);
    if (mine.size() != theirs.size() || mine.size() < 2) return false;
    for (std::size_t i = 0; i < mine.size(); ++i) {
        const std::size_t longer = std::max(mine[i].size(), theirs[i].size());
        if (2 * edit_distance(mine[i], theirs[i]) > longer) return true;
    }
    return false;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
    // Three rows of the dynamic programme suffice: a swap looks two rows back.
    const std::size_t width = b.size() + 1;
    std::vector<std::size_t> before_previous(width), previous(width), current(width);
    for (std::size_t column = 0; column < width; ++column) previous[column] = column;

    for (std::size_t row = 1; row <= a.size(); ++row) {
        const char a_letter = lower(a[row - 1]);
        current[0] = row;
        for (std::size_t column = 1; column < width; ++column) {
            const char b_letter = lower(b[column - 1]);
            const std::size_t substitution = previous[column - 1] + (a_letter == b_letter ? 0 : 1);
            std::size_t best =
                std::min({previous[column] + 1, current[column - 1] + 1, substitution});
            const bool swapped = row > 1 && column > 1 && a_letter == lower(b[column - 2]) &&
                                 lower(a[row - 2]) == b_letter;
            if (swapped) best = std::min(best, before_previous[column - 2] + 1);
            current[column] = best;
        }
        before_previous.swap(previous);
        previous.swap(current);
    }
    return previous[b.size()];
}

std::optional<std::string_view> nearest_spelling(std::string_view word,
                                                 std::span<const std::string_view> candidates) {
    const std::size_t limit = std::max<std::size_t>(2, word.size() / 3);
    std::optional<std::string_view> nearest;
    std::size_t nearest_distance = limit + 1;
    for (const std::string_view candidate : candidates) {
        // The length difference bounds the distance from below: this keeps huge words cheap.
        if (length_difference(word, candidate) >= nearest_distance) continue;
        const std::size_t distance = edit_distance(word, candidate);
        // A distance as large as the longer word means that nothing at all agrees.
        const bool related = distance == 0 || distance < std::max(word.size(), candidate.size());
        if (distance < nearest_distance && related) {
            nearest = candidate;
            nearest_distance = distance;
        }
    }
    return nearest;
}

std::string suggestion(std::string_view word, std::span<const std::string_view> candidates) {
    std::vector<std::string_view> same;
    std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(same),
                 [&](std::string_view candidate) { return !means_another(word, candidate); });
    const auto nearest = nearest_spelling(word, same);
    return nearest ? fmt::format("; did you mean '{}'?", *nearest) : std::string();
}

std::string join(std::span<const std::string_view> words, std::string_view separator) {
    std::string result;
    for (std::size_t index = 0; index < words.size(); ++index) {
        if (index > 0) result += separator;
        result += words[index];
    }
    return result;
}

std::string to_lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), lower);
    return result;
}

std::string with_separators(std::int64_t value) {
    const std::string digits = fmt::format("{}", value);
    const std::size_t first_digit = value < 0 ? 1 : 0;
    std::string result;
    for (std::size_t index = 0; index < digits.size(); ++index) {
        const bool group_starts = index > first_digit && (digits.size() - index) % 3 == 0;
        if (group_starts) result += ',';
        result += digits[index];
    }
    return result;
}

std::string human_count(double count) {
    if (!std::isfinite(count)) return fmt::format("{}", count);
    const double magnitude = std::abs(count);
    if (magnitude > 0 && magnitude < 0.005) return fmt::format("{:.2e}", count);
    static constexpr std::array<Unit, 5> kUnits{
        {{1.0, ""}, {1e3, "K"}, {1e6, "M"}, {1e9, "B"}, {1e12, "T"}}};
    for (const Unit& unit : kUnits) {
        const double scaled = magnitude / unit.size;
        // 999.996 would print as "1000.00": it belongs to the next unit.
        if (scaled >= 999.995) continue;
        const bool whole = unit.size == 1.0 && scaled == std::floor(scaled);
        const std::string_view sign = count < 0 ? "-" : "";
        return whole ? fmt::format("{}{:.0f}", sign, scaled)
                     : fmt::format("{}{:.2f}{}", sign, scaled, unit.name);
    }
    return fmt::format("{:.2e}", count);
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpaces = " \t\n";
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

std::string human_flops(double flops) {
    return fmt::format("{:.2e}", flops);
}

std::string human_bytes(double bytes) {
    constexpr double kKiB = 1024.0;
    constexpr double kMiB = 1024.0 * kKiB;
    const double magnitude = std::abs(bytes);
    if (magnitude == 0.0) return "0 B";
    if (magnitude < kMiB) return fmt::format("{:.2f} KiB", bytes / kKiB);
    if (magnitude < 0.1 * kGiB) return fmt::format("{:.2f} MiB", bytes / kMiB);
    return fmt::format("{:.2f} GiB", bytes / kGiB);
}

std::string human_seconds(double seconds) {
    constexpr double kMinute = 60.0;
    constexpr double kHour = 60.0 * kMinute;
    constexpr double kDay = 24.0 * kHour;
    constexpr double kYear = 365.25 * kDay;
    const double magnitude = std::abs(seconds);
    if (magnitude == 0.0) return "0.0 s";
    if (magnitude < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
    if (magnitude < 1.0) return fmt::format("{:.1f} ms", seconds * 1e3);
    if (magnitude < 2.0 * kMinute) return fmt::format("{:.1f} s", seconds);
    if (magnitude < 2.0 * kHour) return fmt::format("{:.1f} min", seconds / kMinute);
    if (magnitude < 2.0 * kDay) return fmt::format("{:.1f} h", seconds / kHour);
    if (magnitude < 2.0 * kYear) return fmt::format("{:.1f} days", seconds / kDay);
    return fmt::format("{:.1f} years", seconds / kYear);
}

}  // namespace isoflop
