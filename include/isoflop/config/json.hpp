// The one entrance for JSON that other programs, earlier runs or other ranks wrote: manifests, run
// logs, headers, tokenizers, configurations of Hugging Face models. (What a person writes is read
// by jsonc.hpp.) Deep nesting and duplicate keys are refused, and an object of any number of keys
// takes time in proportion to them: nlohmann's own reader searches an ordered object for every key
// it adds, and copies and prints what it has read by recursion.
// tools/check_includes.py holds the sources to this entrance.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "isoflop/config/jsonc.hpp"

namespace isoflop::config {

/// Levels of arrays and objects in each other, for JSON and JSONC.
inline constexpr std::size_t kDeepestJson = JsoncLimits{}.max_depth;

/// What is wrong with a text, without the name of its file.
class JsonFault : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Throws JsonFault.
[[nodiscard]] nlohmann::ordered_json parse_json(std::string_view text);
/// Throws IoError "'NAME' is damaged: ...".
[[nodiscard]] nlohmann::ordered_json parse_json(std::string_view text, std::string_view name);
/// nullopt where the others throw.
[[nodiscard]] std::optional<nlohmann::ordered_json> try_parse_json(std::string_view text);

/// A document of any length from a stream. `take` gets each object in a list of the outermost
/// object, with the key of the list; what it takes (true) is left out of the result, so that memory
/// does not grow with it. Throws JsonFault.
[[nodiscard]] nlohmann::ordered_json parse_json_stream(
    std::istream& stream,
    const std::function<bool(std::string_view list, const nlohmann::ordered_json& item)>& take);

/// A whole regular file of at most `max_bytes`. Throws IoError.
[[nodiscard]] nlohmann::ordered_json read_json_file(const std::filesystem::path& path,
                                                    std::uint64_t max_bytes);

/// For a function's catch (...): an exception of nlohmann's, for a member that is missing or of
/// another type than the one asked for, becomes an IoError "'NAME' is damaged: ..."; any other goes
/// on as it is.
[[noreturn]] void rethrow_as_damaged(std::string_view name);

/// Reads members of a document called `name`, with that.
template <class Read>
decltype(auto) read_members(std::string_view name, Read&& read) {
    try {
        return read();
    } catch (...) {
        rethrow_as_damaged(name);
    }
}

/// A whole number from 0 to 2^62. Throws IoError naming key and document when the member is missing
/// or anything else.
[[nodiscard]] std::int64_t count_at(const nlohmann::ordered_json& object, std::string_view key,
                                    std::string_view name);

}  // namespace isoflop::config
