#include "isoflop/data/token_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "data/file_io.hpp"
#include "data/source_files.hpp"
#include "data/tokenizer_kinds.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/data/builtin_corpus.hpp"

namespace isoflop::data {
namespace {

SourceSpec parse_source(std::string_view text) {
    const std::size_t at = text.rfind('@');
    if (at == std::string_view::npos)
        return {.location = std::string(text), .weight = std::nullopt};
    const std::string_view weight_text = trimmed(text.substr(at + 1));
    double weight = 0;
    const auto [end, error] =
        std::from_chars(weight_text.data(), weight_text.data() + weight_text.size(), weight);
    const bool is_number = error == std::errc() && end == weight_text.data() + weight_text.size();
    if (!is_number || !std::isfinite(weight) || weight <= 0) {
        throw ConfigError(
            fmt::format("'{}': the mixing weight after @ must be a number above 0; found '{}'",
                        text, weight_text));
    }
    return {.location = std::string(trimmed(text.substr(0, at))), .weight = weight};
}

/// Two parts of the data made with different tokenizers cannot be one training set.
void check_same_tokenizer(std::uint64_t& known, std::uint64_t hash, const std::string& name) {
    if (hash == 0) return;
    if (known == 0) known = hash;
    if (known != hash) {
        throw IoError(fmt::format(
            "{}: error: made with another tokenizer than the data before it ({:016x}, not {:016x})",
            name, hash, known));
    }
}

/// nanoGPT's data folders have the vocabulary and its characters in a pickle, which is a program.
std::string pickle_note(const std::filesystem::path& folder) {
    const std::filesystem::path pickle = folder / "meta.pkl";
    std::error_code unknown;
    if (!std::filesystem::exists(pickle, unknown) ||
        std::filesystem::exists(folder / kMetaFileName, unknown))
        return {};
    return fmt::format(
        "{} is not read, as reading a pickle runs what is in it: set vocab_size, or prepare the "
        "text again with train prepare-data, by which sample knows the characters too",
        pickle.string());
}

}  // namespace

std::vector<SourceSpec> parse_sources(std::string_view text) {
    std::vector<SourceSpec> sources;
    while (true) {
        const std::size_t comma = text.find(',');
        SourceSpec source = parse_source(trimmed(text.substr(0, comma)));
        if (source.location.empty()) {
            throw ConfigError(
                "a list of data sources has an empty entry; write for example data/web@0.7, "
                "data/code@0.3");
        }
        sources.push_back(std::move(source));
        if (comma == std::string_view::npos) return sources;
        text.remove_prefix(comma + 1);
    }
}

TokenSource TokenSource::open(const std::string& location, Split split) {
    TokenSource source;
    source.location_ = location;
    if (location == "builtin") {
        source.builtin_ = builtin_tokens(split);
        source.size_ = source.builtin_.size();
        source.vocab_size_ = kBuiltinVocabSize;
        source.tokenizer_hash_ = make_byte_tokenizer()->hash();
        return source;
    }
    const SourceFiles found = find_source_files(location, split);
    source.tokenizer_folder_ = found.tokenizer_folder;
    source.tokenizer_hash_ = found.tokenizer_hash.value_or(0);
    for (std::size_t index = 0; index < found.files.size(); ++index) {
        TokenFile file = TokenFile::open(found.files[index]);
        if (!found.expected_tokens.empty() && found.expected_tokens[index] != file.size()) {
            fail(file.path(), fmt::format("it has {} tokens; the meta.json beside it gives {}",
                                          file.size(), found.expected_tokens[index]));
        }
        check_same_tokenizer(source.tokenizer_hash_, file.tokenizer_hash(), file.path().string());
        source.vocab_size_ = std::max(source.vocab_size_, file.vocab_size());
        source.first_token_.push_back(source.size_);
        source.size_ += file.size();
        source.files_.push_back(std::move(file));
    }
    source.note_ = pickle_note(found.files.front().parent_path());
    if (source.tokenizer_hash_ == 0)
        source.tokenizer_folder_.clear();  // files from elsewhere beside a meta.json
    return source;
}

std::uint64_t TokenSource::num_windows(std::int64_t block_size) const {
    if (size_ == 0 || block_size < 1) return 0;
    return (size_ - 1) / static_cast<std::uint64_t>(block_size);
}

std::shared_ptr<const Tokenizer> TokenSource::tokenizer() const {
    if (!builtin_.empty()) return make_byte_tokenizer();
    if (tokenizer_folder_.empty()) return nullptr;
    std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(tokenizer_folder_);
    if (tokenizer->hash() != tokenizer_hash_) {
        fail(tokenizer_folder_,
             fmt::format("its tokenizer ({:016x}) is not the one that made the tokens ({:016x})",
                         tokenizer->hash(), tokenizer_hash_));
    }
    return tokenizer;
}

void TokenSource::copy(std::uint64_t first, std::span<std::int32_t> tokens,
                       std::int64_t vocab_limit) const {
    if (first > size_ || tokens.size() > size_ - first) {
        throw std::out_of_range(fmt::format("{}: tokens {} to {} of {}", location_, first,
                                            first + tokens.size(), size_));
    }
    if (!builtin_.empty()) {
        const auto begin = builtin_.begin() + static_cast<std::ptrdiff_t>(first);
        std::copy(begin, begin + static_cast<std::ptrdiff_t>(tokens.size()), tokens.begin());
        return;
    }
    auto after = std::upper_bound(first_token_.begin(), first_token_.end(), first);
    auto shard = static_cast<std::size_t>(after - first_token_.begin()) - 1;
    while (!tokens.empty()) {
        const std::uint64_t within = first - first_token_[shard];
        const std::size_t count =
            std::min<std::uint64_t>(tokens.size(), files_[shard].size() - within);
        files_[shard].copy(within, tokens.first(count), vocab_limit);
        tokens = tokens.subspan(count);
        first += count;
        ++shard;
    }
}

TokenDataset TokenDataset::open(std::span<const SourceSpec> sources, Split split) {
    if (sources.empty())
        throw ConfigError("no data sources given; 'builtin' names the built-in corpus");
    TokenDataset dataset;
    const auto weighted =
        std::count_if(sources.begin(), sources.end(),
                      [](const SourceSpec& source) { return source.weight.has_value(); });
    if (weighted != 0 && static_cast<std::size_t>(weighted) != sources.size()) {
        throw ConfigError(
            "mixing weights must be given for all data sources or for none (then each counts by "
            "its "
            "number of tokens)");
    }
    double sum = 0;
    std::uint64_t tokenizer_hash = 0;
    for (const SourceSpec& spec : sources) {
        if (spec.weight && !(std::isfinite(*spec.weight) && *spec.weight > 0)) {
            throw ConfigError(fmt::format("'{}': the mixing weight must be above 0; found {}",
                                          spec.location, *spec.weight));
        }
        TokenSource source = TokenSource::open(spec.location, split);
        check_same_tokenizer(tokenizer_hash, source.tokenizer_hash(), spec.location);
        dataset.weights_.push_back(spec.weight.value_or(static_cast<double>(source.size())));
        sum += dataset.weights_.back();
        dataset.sources_.push_back(std::move(source));
    }
    for (double& weight : dataset.weights_) weight /= sum;
    return dataset;
}

TokenDataset TokenDataset::open(std::string_view sources, Split split) {
    return open(parse_sources(sources), split);
}

std::uint64_t TokenDataset::size() const {
    std::uint64_t result = 0;
    for (const TokenSource& source : sources_) result += source.size();
    return result;
}

std::uint64_t TokenDataset::num_windows(std::int64_t block_size) const {
    std::uint64_t result = 0;
    for (const TokenSource& source : sources_) result += source.num_windows(block_size);
    return result;
}

std::int64_t TokenDataset::vocab_size() const {
    std::int64_t result = 0;
    for (const TokenSource& source : sources_) result = std::max(result, source.vocab_size());
    return result;
}

std::uint64_t TokenDataset::tokenizer_hash() const {
    for (const TokenSource& source : sources_) {
        if (source.tokenizer_hash() != 0) return source.tokenizer_hash();
    }
    return 0;
}

std::shared_ptr<const Tokenizer> TokenDataset::tokenizer() const {
    for (const TokenSource& source : sources_) {
        if (auto tokenizer = source.tokenizer()) return tokenizer;
    }
    return nullptr;
}

void TokenDataset::set_model_vocab_size(std::int64_t model_vocab_size) {
    if (model_vocab_size < 1) {
        throw ConfigError(fmt::format("vocab_size must be at least 1; found {}", model_vocab_size));
    }
    for (const TokenSource& source : sources_) {
        if (source.vocab_size() <= model_vocab_size) continue;
        throw ConfigError(
            fmt::format("'{}' has a vocabulary of {} tokens; vocab_size {} is too small for it",
                        source.location(), source.vocab_size(), model_vocab_size));
    }
    vocab_limit_ = model_vocab_size;
}

void TokenDataset::copy(std::size_t source, std::uint64_t first,
                        std::span<std::int32_t> tokens) const {
    sources_[source].copy(first, tokens, vocab_limit_);
}

}  // namespace isoflop::data
