#include "data/source_files.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "data/file_io.hpp"
#include "data/tokenizer_kinds.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestMeta = 256U << 20U;

bool is_digit(char letter) {
    return letter >= '0' && letter <= '9';
}

/// The number at the start of `text`, without leading zeros, as digits.
std::string_view take_number(std::string_view& text) {
    std::size_t length = 0;
    while (length < text.size() && is_digit(text[length])) ++length;
    std::string_view digits = text.substr(0, length);
    text.remove_prefix(length);
    while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
    return digits;
}

std::vector<fs::path> matching(const std::string& pattern) {
    glob_t matches{};
    const int status = ::glob(pattern.c_str(), GLOB_NOSORT | GLOB_TILDE, nullptr, &matches);
    std::vector<std::string> names;
    for (std::size_t index = 0; status == 0 && index < matches.gl_pathc; ++index) {
        names.emplace_back(matches.gl_pathv[index]);
    }
    ::globfree(&matches);
    std::sort(names.begin(), names.end(), natural_less);
    return {names.begin(), names.end()};
}

/// For a folder's name in a pattern: no character of it is special.
std::string escaped(const std::string& text) {
    std::string result;
    for (const char letter : text) {
        if (std::string_view(R"(*?[]\~)").find(letter) != std::string_view::npos) result += '\\';
        result += letter;
    }
    return result;
}

SourceFiles from_meta(const fs::path& folder, Split split) {
    const fs::path meta_file = folder / kMetaFileName;
    const nlohmann::ordered_json meta = config::read_json_file(meta_file, kLargestMeta);
    SourceFiles result{.tokenizer_folder = folder};
    try {
        const nlohmann::ordered_json& part = meta.at(file_prefix(split));
        for (const nlohmann::ordered_json& shard : part.at("shards")) {
            const auto name = shard.at("file").get<std::string>();
            if (fs::path(name).filename() != name)
                fail(meta_file, fmt::format("shard '{}' is not a plain file name", name));
            result.files.push_back(folder / name);
            result.expected_tokens.push_back(shard.at("tokens").get<std::uint64_t>());
        }
        result.tokenizer_hash =
            std::stoull(meta.at("tokenizer_hash").get<std::string>(), nullptr, 16);
    } catch (const nlohmann::ordered_json::exception& error) {
        fail(meta_file, fmt::format("damaged: {}", error.what()));
    } catch (const std::logic_error& error) {  // of stoull
        fail(meta_file, "damaged: tokenizer_hash is not a hexadecimal number");
    }
    if (result.files.empty()) {
        fail(meta_file, split == Split::train
                            ? "it lists no training tokens"
                            : "it lists no validation tokens: the data was prepared with "
                              "--val-fraction 0; prepare it again, or name validation data");
    }
    return result;
}

SourceFiles from_folder(const fs::path& folder, Split split) {
    std::error_code error;
    if (fs::exists(folder / kMetaFileName, error)) return from_meta(folder, split);
    const std::string base = escaped(folder.string());
    const std::string prefix = file_prefix(split);
    for (const std::string& name : {prefix + "*.bin", "*_" + prefix + "*.bin"}) {
        if (std::vector<fs::path> files = matching(fmt::format("{}/{}", base, name));
            !files.empty()) {
            return {.files = std::move(files)};
        }
    }
    fail(folder,
         fmt::format(
             "this folder holds neither a meta.json nor files called {0}*.bin or *_{0}*.bin; "
             "`train prepare-data` makes such folders from text",
             prefix));
}

}  // namespace

bool natural_less(const std::string& left, const std::string& right) {
    std::string_view left_rest = left;
    std::string_view right_rest = right;
    while (!left_rest.empty() && !right_rest.empty()) {
        if (is_digit(left_rest.front()) && is_digit(right_rest.front())) {
            const std::string_view left_number = take_number(left_rest);
            const std::string_view right_number = take_number(right_rest);
            if (left_number.size() != right_number.size())
                return left_number.size() < right_number.size();
            if (left_number != right_number) return left_number < right_number;
        } else {
            const auto left_byte = static_cast<unsigned char>(left_rest.front());
            const auto right_byte = static_cast<unsigned char>(right_rest.front());
            if (left_byte != right_byte) return left_byte < right_byte;
            left_rest.remove_prefix(1);
            right_rest.remove_prefix(1);
        }
    }
    if (left_rest.empty() != right_rest.empty()) return left_rest.empty();
    return left < right;  // only zeros differ
}

SourceFiles find_source_files(const std::string& location, Split split) {
    std::error_code error;
    const fs::path path = location;
    if (fs::is_directory(path, error)) return from_folder(path, split);

    SourceFiles result;
    if (fs::exists(path, error)) {
        result.files = {path};
    } else {
        const bool is_pattern = location.find_first_of("*?[") != std::string::npos;
        if (!is_pattern) fail_missing(path);
        result.files = matching(location);
        if (result.files.empty())
            fail(location, "no file matches; `train prepare-data` makes token files from text");
    }
    const fs::path folder = result.files.front().parent_path();
    if (fs::exists(folder / kMetaFileName, error))
        result.tokenizer_folder = folder.empty() ? "." : folder;
    return result;
}

}  // namespace isoflop::data
