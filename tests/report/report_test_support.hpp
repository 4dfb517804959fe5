// Reading reports back: the value and note of a labelled row, and searches for what must not be
// printed.
#pragma once

#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace isoflop::report {

inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

/// Everything after the label of a row: value, then the note behind spaces.
inline std::string row_of(const std::string& text, const std::string& label) {
    const std::string start = "  " + label + " ";
    for (const std::string& line : lines_of(text)) {
        if (line.compare(0, start.size(), start) != 0) continue;
        const std::size_t value = line.find_first_not_of(' ', start.size());
        if (value != std::string::npos) return line.substr(value);
    }
    throw std::runtime_error("no row '" + label + "' in\n" + text);
}

/// Words "inf" or "nan", alone or as a number with a sign or unit; not as part of a longer word.
inline bool mentions_no_number(const std::string& text) {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const std::string_view word : {"inf", "nan"}) {
        for (std::size_t at = lower.find(word); at != std::string::npos;
             at = lower.find(word, at + 1)) {
            const bool starts =
                at == 0 || std::isalpha(static_cast<unsigned char>(lower[at - 1])) == 0;
            const std::size_t end = at + word.size();
            const bool ends = end == lower.size() ||
                              std::islower(static_cast<unsigned char>(lower[end])) == 0 ||
                              lower[end] == 'b' || lower[end] == 't';
            if (starts && ends) return true;
        }
    }
    return false;
}

/// Numbers that are neither finite nor written: nlohmann/json writes them as null.
inline bool has_non_finite(const nlohmann::ordered_json& json) {
    if (json.is_number_float()) return !std::isfinite(json.get<double>());
    if (!json.is_structured()) return false;
    for (const auto& element : json) {
        if (has_non_finite(element)) return true;
    }
    return false;
}

}  // namespace isoflop::report
