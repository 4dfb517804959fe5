#include "isoflop/config/overrides.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"

namespace isoflop::config {

std::vector<std::string> rewrite_overrides(const std::vector<std::string>& arguments,
                                           const std::function<bool(std::string_view)>& is_key) {
    std::vector<std::string> rewritten;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "--") {  // everything after it is positional
            rewritten.insert(rewritten.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i),
                             arguments.end());
            break;
        }
        const std::size_t equals = argument.find('=');
        const bool option = argument.size() > 2 && argument.compare(0, 2, "--") == 0;
        const std::string key =
            option ? argument.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
        if (!option || !is_key(key)) {
            rewritten.push_back(argument);
            continue;
        }
        std::string value;
        if (equals != std::string::npos) {
            value = argument.substr(equals + 1);
        } else if (i + 1 < arguments.size()) {
            value = arguments[++i];
        } else {
            throw ConfigError(fmt::format("--{} needs a value: --{}=VALUE", key, key));
        }
        rewritten.emplace_back("--set");
        rewritten.push_back(fmt::format("{}={}", key, value));
    }
    return rewritten;
}

}  // namespace isoflop::config
