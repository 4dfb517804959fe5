// Overrides on the command line: `--key=value` and `--key value` for any configuration key, besides
// `--set key=value`.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace isoflop::config {

/// Rewrites `--key=value` and `--key value` to `--set key=value` wherever `is_key(key)`; all other
/// arguments are kept. The argument parser then needs one form only. Throws ConfigError when the
/// last argument is a key without a value.
[[nodiscard]] std::vector<std::string> rewrite_overrides(
    const std::vector<std::string>& arguments, const std::function<bool(std::string_view)>& is_key);

}  // namespace isoflop::config
