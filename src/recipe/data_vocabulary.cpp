// The rules are those of the data layer (data/token_dataset.hpp): a source is builtin, a folder
// with a meta.json or with train*.bin files, a file, or a glob; sources are separated by commas and
// may have a weight behind @.
#include "isoflop/recipe/data_vocabulary.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::recipe {
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kBuiltinVocabSize = 257;  ///< bytes, and the end of text
constexpr std::uint64_t kLargestMeta = 256U << 20U;

std::string trimmed(std::string_view text) {
    constexpr std::string_view kSpaces = " \t\n";
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(kSpaces) - first + 1));
}

std::vector<std::string> locations(std::string_view sources) {
    std::vector<std::string> list;
    while (true) {
        const std::size_t comma = sources.find(',');
        const std::string_view source = sources.substr(0, comma);
        list.push_back(trimmed(source.substr(0, source.rfind('@'))));
        if (comma == std::string_view::npos) return list;
        sources.remove_prefix(comma + 1);
    }
}

std::vector<fs::path> matching(const std::string& pattern) {
    glob_t matches{};
    std::vector<fs::path> names;
    if (::glob(pattern.c_str(), GLOB_TILDE, nullptr, &matches) == 0) {
        for (std::size_t index = 0; index < matches.gl_pathc; ++index)
            names.emplace_back(matches.gl_pathv[index]);
    }
    ::globfree(&matches);
    return names;
}

std::vector<fs::path> files_of_folder(const fs::path& folder) {
    std::vector<fs::path> files;
    const fs::path meta = folder / "meta.json";
    if (fs::exists(meta)) {
        try {
            const auto document = config::read_json_file(meta, kLargestMeta);
            for (const auto& shard : document.at("train").at("shards"))
                files.push_back(folder / shard.at("file").get<std::string>());
        } catch (const nlohmann::ordered_json::exception& error) {
            throw IoError(fmt::format("{}: error: damaged: {}", meta.string(), error.what()));
        }
        return files;
    }
    std::vector<fs::path> prefixed;  // train*.bin as nanoGPT has them, else *_train*.bin as llm.c
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (!name.ends_with(".bin")) continue;
        if (name.starts_with("train")) files.push_back(entry.path());
        if (name.find("_train") != std::string::npos) prefixed.push_back(entry.path());
    }
    if (files.empty()) return prefixed;
    return files;
}

/// 0 for files of others, whose headers do not say.
std::int64_t vocab_size_of(const fs::path& path) {
    constexpr std::array<char, 8> kMagic = {'I', 'S', 'O', 'F', 'L', 'O', 'P', 'T'};
    constexpr std::size_t kVocabularyOffset = 24;
    std::array<char, kVocabularyOffset + sizeof(std::uint64_t)> header{};
    if (!fs::exists(path)) throw IoError(fmt::format("{}: error: no such file", path.string()));
    const RandomAccessFile file(path);
    if (file.size() < header.size()) return 0;
    file.read(0, std::as_writable_bytes(std::span(header)));
    if (!std::equal(kMagic.begin(), kMagic.end(), header.begin())) return 0;
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t size = 0;
    std::memcpy(&size, header.data() + kVocabularyOffset, sizeof size);
    return static_cast<std::int64_t>(size);
}

std::int64_t vocab_size_at(const std::string& location) {
    if (location == "builtin") return kBuiltinVocabSize;
    std::error_code error;
    std::vector<fs::path> files;
    if (fs::is_directory(location, error)) {
        files = files_of_folder(location);
    } else if (fs::exists(location, error)) {
        files = {location};
    } else {
        files = matching(location);
    }
    if (files.empty()) throw IoError(fmt::format("{}: error: no token files", location));
    std::int64_t largest = 0;
    for (const fs::path& file : files) largest = std::max(largest, vocab_size_of(file));
    return largest;
}

}  // namespace

std::string dataset_location(const std::string& dataset) {
    if (dataset == "builtin" || fs::exists(dataset)) return dataset;
    const fs::path inside = fs::path("data") / dataset;
    return fs::exists(inside) ? inside.string() : dataset;
}

std::int64_t data_vocab_size(const DataKeys& keys) {
    std::int64_t largest = 0;
    const std::string sources =
        keys.train_data.empty() ? dataset_location(keys.dataset) : keys.train_data;
    for (const std::string& location : locations(sources))
        largest = std::max(largest, vocab_size_at(location));
    return largest;
}

}  // namespace isoflop::recipe
