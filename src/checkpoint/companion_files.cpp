#include "isoflop/checkpoint/companion_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::uint64_t kMaxJsonBytes = std::uint64_t{1} << 27U;
constexpr const char* kConfig = "config.json";
constexpr const char* kGenerationConfig = "generation_config.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";

constexpr std::array kNames = {"tokenizer.json",    kTokenizerConfig,  "tokenizer.model",
                               "spiece.model",      "tekken.json",     "special_tokens_map.json",
                               "added_tokens.json", "vocab.json",      "vocab.txt",
                               "merges.txt",        kGenerationConfig, "chat_template.jinja",
                               "chat_template.json"};

/// Tokenizers of transformers that begin every text with their first token unless their
/// configuration says otherwise.
constexpr std::array<std::string_view, 6> kBeginning = {
    "LlamaTokenizer",         "LlamaTokenizerFast", "CodeLlamaTokenizer",
    "CodeLlamaTokenizerFast", "GemmaTokenizer",     "GemmaTokenizerFast"};

/// An empty object for a file that is not there.
ordered_json read_object(const fs::path& path) {
    std::error_code unknown;
    if (!fs::exists(path, unknown)) return ordered_json::object();
    ordered_json json = config::read_json_file(path, kMaxJsonBytes);
    if (!json.is_object())
        throw IoError(fmt::format("'{}' is damaged: it is no JSON object", path.string()));
    return json;
}

/// One id, a list of them, or null, as transformers writes all three.
std::vector<std::int64_t> ids_at(const ordered_json& object, const char* key,
                                 const fs::path& path) {
    std::vector<std::int64_t> ids;
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return ids;
    const auto add = [&](const ordered_json& id) {
        constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
        // -1 stands for none in some files.
        if (id.is_number_integer() && id.get<std::int64_t>() == -1) return;
        if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::uint64_t{kMost})
            throw IoError(fmt::format("'{}' is damaged: {} is no token", path.string(), key));
        ids.push_back(id.get<std::int64_t>());
    };
    if (!found->is_array()) {
        add(*found);
        return ids;
    }
    for (const ordered_json& id : *found) add(id);
    return ids;
}

bool begins_texts(const ordered_json& tokenizer) {
    const auto says = tokenizer.find("add_bos_token");
    if (says != tokenizer.end() && says->is_boolean()) return says->get<bool>();
    const auto name = tokenizer.find("tokenizer_class");
    return name != tokenizer.end() && name->is_string() &&
           std::find(kBeginning.begin(), kBeginning.end(), name->get<std::string>()) !=
               kBeginning.end();
}

}  // namespace

std::vector<fs::path> companion_files(const fs::path& directory) {
    std::vector<fs::path> files;
    std::error_code unknown;
    for (const char* name : kNames) {
        if (fs::is_regular_file(directory / name, unknown)) files.push_back(directory / name);
    }
    return files;
}

fs::path companion_folder(const fs::path& model) {
    std::error_code unknown;
    if (fs::exists(model / kConfig, unknown)) return model;
    const fs::path absolute = fs::weakly_canonical(model, unknown);
    for (const fs::path& folder : {model, absolute.parent_path().parent_path()}) {
        if (fs::exists(folder / kCompanionFolder / kConfig, unknown))
            return folder / kCompanionFolder;
    }
    return {};
}

void copy_companion_files(const fs::path& from, const fs::path& to) {
    make_directories(to);
    for (const fs::path& file : companion_files(from))
        copy_regular_file(file, to / file.filename());
    copy_regular_file(from / kConfig, to / kConfig);
}

SpecialTokens special_tokens(const fs::path& companions) {
    const ordered_json config = read_object(companions / kConfig);
    const ordered_json generation = read_object(companions / kGenerationConfig);
    const auto ids_of = [&](const char* key) {
        std::vector<std::int64_t> ids = ids_at(generation, key, companions / kGenerationConfig);
        return ids.empty() ? ids_at(config, key, companions / kConfig) : ids;
    };
    SpecialTokens tokens;
    if (const auto ids = ids_of("bos_token_id"); !ids.empty()) {
        tokens.beginning = ids.front();
        const bool by_generation = !ids_at(generation, "bos_token_id", {}).empty();
        tokens.beginning_file = companions / (by_generation ? kGenerationConfig : kConfig);
    }
    if (const auto ids = ids_of("pad_token_id"); !ids.empty()) tokens.padding = ids.front();
    tokens.ends = ids_of("eos_token_id");
    tokens.begins_texts =
        tokens.beginning.has_value() && begins_texts(read_object(companions / kTokenizerConfig));
    return tokens;
}

}  // namespace isoflop::checkpoint
