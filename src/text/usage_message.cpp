#include "isoflop/text/usage_message.hpp"

#include <fmt/format.h>

#include <string_view>

#include "isoflop/base/text.hpp"

namespace isoflop::text {

std::string usage_message(std::string message, std::vector<std::string> known) {
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

}  // namespace isoflop::text
