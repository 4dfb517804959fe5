// What both tools say about a command line that CLI11 refuses.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/text.hpp"

namespace isoflop::tools {

/// CLI11's message, with the nearest of the `known` names, given without dashes, where the message is
/// about a name. An option of a section is also known by its last part.
inline std::string usage_message(const CLI::ParseError& error, std::vector<std::string> known) {
    std::string message = error.what();
    const std::size_t dashes = message.find("--");
    if (dashes == std::string::npos) return message;
    const std::size_t end = message.find_first_of(" =,", dashes);
    const std::string word =
        message.substr(dashes + 2, end == std::string::npos ? end : end - dashes - 2);
    for (std::size_t i = 0, count = known.size(); i < count; ++i) {
        const std::size_t dot = known[i].find('.');
        if (dot != std::string::npos) known.push_back(known[i].substr(dot + 1));
    }
    const std::vector<std::string_view> candidates(known.begin(), known.end());
    if (const auto nearest = nearest_spelling(word, candidates))
        message += fmt::format("; did you mean '--{}'?", *nearest);
    return message;
}

/// Adds the long names of the options of `app`.
inline void add_option_names(const CLI::App& app, std::vector<std::string>& names) {
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back(name);
    }
}

}  // namespace isoflop::tools
