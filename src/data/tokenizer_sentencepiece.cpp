// SentencePiece models, through the distribution's library where the build found it
// (ISOFLOP_HAVE_SENTENCEPIECE). Decoding is done here, from the pieces: the library's own turns the
// bytes of an incomplete character into U+FFFD, so that a stream could never complete it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "data/file_io.hpp"
#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/utf8.hpp"

#ifdef ISOFLOP_HAVE_SENTENCEPIECE
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#endif

namespace isoflop::data {

void fail_without_sentencepiece(std::string_view wanted) {
    throw ConfigError(
        fmt::format("{} needs the SentencePiece library, which this build lacks: install "
                    "libsentencepiece-dev and "
                    "configure again, or use the byte or char tokenizer",
                    wanted));
}

#ifdef ISOFLOP_HAVE_SENTENCEPIECE
namespace {

constexpr std::string_view kSpaceMark =
    "\xE2\x96\x81";  // U+2581, which stands for a space in pieces
/// A text is cut when so much has come; where it has no place to be cut in its last bytes of this
/// number, more is awaited, up to the second number.
constexpr std::size_t kChunk = 65536;
constexpr std::size_t kLongestChunk = std::size_t{16} << 20U;
/// Bytes on either side with which a place to cut is tried.
constexpr std::size_t kTried = 256;

/// The last code point of a text, as bytes; empty when it ends in something else.
std::string_view last_code_point(std::string_view text) {
    std::size_t begin = text.size() - std::min<std::size_t>(text.size(), 1);
    while (begin > 0 && text.size() - begin < 4 && config::is_continuation_byte(text[begin]))
        --begin;
    const auto last = text.substr(begin);
    if (last.empty() || config::decode_utf8(last, 0).length != last.size()) return {};
    return last;
}

/// Pairs of neighbouring characters within the pieces of a model. Between two characters that are
/// no such pair no piece goes on, so the text on either side is encoded independently of the other.
class InnerPairs {
public:
    void add(std::string_view piece) {
        std::optional<char32_t> left;
        for (std::size_t offset = 0; offset < piece.size();) {
            const config::CodePoint right = config::decode_utf8(piece, offset);
            if (left) pairs_.insert(key(*left, right.value));
            left = right.value;
            offset += right.length;
        }
    }
    [[nodiscard]] bool contains(char32_t left, char32_t right) const {
        const auto as_in_pieces = [](char32_t c) { return c == U' ' ? U'\u2581' : c; };
        return pairs_.contains(key(as_in_pieces(left), as_in_pieces(right)));
    }

private:
    static std::uint64_t key(char32_t left, char32_t right) {
        return (static_cast<std::uint64_t>(left) << 32U) | right;
    }
    std::unordered_set<std::uint64_t> pairs_;
};

class SentencePieceTokenizer final : public Tokenizer {
public:
    SentencePieceTokenizer(std::string model, const std::string& file_name)
        : model_(std::move(model)) {
        const auto status = processor_.LoadFromSerializedProto(model_);
        if (!status.ok() || processor_.GetPieceSize() == 0) {
            fail(file_name, fmt::format("no SentencePiece model: {}", status.ToString()));
        }
        std::vector<std::string> pieces;
        if (processor_.Encode("a", &pieces).ok() && !pieces.empty()) {
            adds_leading_space_ = pieces.front().compare(0, kSpaceMark.size(), kSpaceMark) == 0;
        }
    }

    [[nodiscard]] std::string name() const override { return "sentencepiece"; }
    [[nodiscard]] std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }

    [[nodiscard]] std::optional<std::int32_t> end_of_text() const override {
        const int id = processor_.eos_id();
        if (id < 0) return std::nullopt;
        return id;
    }

    [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
        std::vector<int> ids;
        const auto status = processor_.Encode(replace_invalid_utf8(text), &ids);
        if (!status.ok()) throw EncodeError(status.ToString(), 0);
        return ids;
    }

    // The library may put a space before a text and drop those at its ends, so the text is encoded
    // behind the character before it, whose tokens are then left out.
    [[nodiscard]] std::vector<std::int32_t> encode_after(std::string_view before,
                                                         std::string_view text) const override {
        if (before.empty()) return encode(text);
        for (const std::string_view context :
             {last_code_point(before), std::string_view("\n"), std::string_view("\xE3\x80\x82")}) {
            if (auto tokens = encode_behind(context, text)) return *std::move(tokens);
        }
        return encode(text);
    }

    [[nodiscard]] std::string decode_bytes(std::span<const std::int32_t> tokens) const override {
        std::string text;
        bool is_document_start = true;
        for (const std::int32_t token : tokens) {
            if (token < 0 || token >= processor_.GetPieceSize()) continue;
            if (processor_.IsControl(token)) {
                is_document_start = true;
                continue;
            }
            const std::string piece = piece_text(token);
            const bool drops_space =
                is_document_start && adds_leading_space_ && piece.starts_with(' ');
            text.append(piece, drops_space ? 1 : 0, std::string::npos);
            is_document_start = false;
        }
        return text;
    }

    // Cuts between two characters that no piece of the model joins, and tries there whether the
    // model, with its normalisation, gives the same tokens.
    [[nodiscard]] std::size_t stream_boundary(std::string_view text) const override {
        if (text.size() < kChunk) return 0;
        std::call_once(pairs_made_, [this] { make_pairs(); });
        std::size_t place = text.size() - kTried;
        const std::size_t last_tried = text.size() - std::min(text.size(), kChunk) + 1;
        for (; place >= last_tried; --place) {
            if (config::is_continuation_byte(text[place])) continue;
            if (may_cut(text, place) && cut_changes_nothing(text, place)) return place;
        }
        return text.size() < kLongestChunk ? 0 : text.size() - incomplete_suffix(text);
    }

    [[nodiscard]] nlohmann::json to_json() const override {
        return {{"type", name()}, {"vocab_size", vocab_size()}};
    }
    [[nodiscard]] std::string_view model_bytes() const override { return model_; }

private:
    void make_pairs() const {
        for (int token = 0; token < processor_.GetPieceSize(); ++token) {
            if (!processor_.IsControl(token) && !processor_.IsUnknown(token) &&
                !processor_.IsByte(token))
                pairs_.add(processor_.IdToPiece(token));
        }
    }

    [[nodiscard]] bool may_cut(std::string_view text, std::size_t place) const {
        const std::string_view left = last_code_point(text.substr(0, place));
        const config::CodePoint right = config::decode_utf8(text, place);
        return !left.empty() && right.valid &&
               !pairs_.contains(config::decode_utf8(left, 0).value, right.value);
    }

    [[nodiscard]] bool cut_changes_nothing(std::string_view text, std::size_t place) const {
        std::size_t begin = place - std::min(place, kTried);
        while (begin < place && config::is_continuation_byte(text[begin])) ++begin;
        const std::string_view before = text.substr(begin, place - begin);
        std::string_view after = text.substr(place, kTried);
        after.remove_suffix(incomplete_suffix(after));
        const auto behind = encode_behind(last_code_point(before), after);
        if (!behind) return false;
        std::vector<std::int32_t> tokens = encode(before);
        tokens.insert(tokens.end(), behind->begin(), behind->end());
        return tokens == encode(text.substr(begin, before.size() + after.size()));
    }

    /// nullopt when the tokens of the context change by what follows.
    [[nodiscard]] std::optional<std::vector<std::int32_t>> encode_behind(
        std::string_view context, std::string_view text) const {
        if (context.empty()) return std::nullopt;
        const std::vector<std::int32_t> alone = encode(context);
        std::vector<std::int32_t> tokens = encode(std::string(context).append(text));
        if (tokens.size() < alone.size() || !std::equal(alone.begin(), alone.end(), tokens.begin()))
            return std::nullopt;
        tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(alone.size()));
        return tokens;
    }

    [[nodiscard]] std::string piece_text(std::int32_t token) const {
        const std::string& piece = processor_.IdToPiece(token);
        if (processor_.IsByte(token) && piece.size() == 6) {  // <0x0A>
            unsigned value = 0;
            const auto* const digits = piece.data() + 3;
            if (std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2)
                return {static_cast<char>(value)};
        }
        if (processor_.IsUnknown(token)) return "\xEF\xBF\xBD";
        std::string text;
        for (std::size_t offset = 0; offset < piece.size();) {
            if (piece.compare(offset, kSpaceMark.size(), kSpaceMark) == 0) {
                text += ' ';
                offset += kSpaceMark.size();
            } else {
                text += piece[offset++];
            }
        }
        return text;
    }

    sentencepiece::SentencePieceProcessor processor_;
    std::string model_;
    bool adds_leading_space_ = false;
    mutable std::once_flag pairs_made_;
    mutable InnerPairs pairs_;
};

class SentenceList final : public sentencepiece::SentenceIterator {
public:
    explicit SentenceList(const std::vector<std::string>& sentences) : sentences_(sentences) {}
    [[nodiscard]] bool done() const override { return index_ == sentences_.size(); }
    void Next() override { ++index_; }
    [[nodiscard]] const std::string& value() const override { return sentences_[index_]; }
    [[nodiscard]] sentencepiece::util::Status status() const override { return {}; }

private:
    const std::vector<std::string>& sentences_;
    std::size_t index_ = 0;
};

}  // namespace

bool has_sentencepiece() {
    return true;
}

std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& model_file) {
    constexpr std::size_t kLargestModel = 512U << 20U;
    return std::make_unique<SentencePieceTokenizer>(read_text_file(model_file, kLargestModel),
                                                    model_file.string());
}

// The text is kept as it is (no normalisation, no added space, all spaces kept, unseen characters
// as bytes), so that decoding gives back exactly what was encoded; digits stand alone, as in Llama.
std::unique_ptr<Tokenizer> train_sentencepiece(const std::vector<std::string>& sentences,
                                               std::int64_t vocab_size) {
    const std::unordered_map<std::string, std::string> arguments{
        {"model_type", "bpe"},
        {"vocab_size", std::to_string(vocab_size)},
        {"character_coverage", "0.9999"},
        {"byte_fallback", "true"},
        {"split_digits", "true"},
        {"normalization_rule_name", "identity"},
        {"remove_extra_whitespaces", "false"},
        {"add_dummy_prefix", "false"},
        {"allow_whitespace_only_pieces", "true"},
        {"minloglevel", "2"},
    };
    SentenceList list(sentences);
    std::string model;
    const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &list, &model);
    if (!status.ok()) {
        throw ConfigError(fmt::format("sentencepiece-train:{} failed on this text: {}", vocab_size,
                                      status.ToString()));
    }
    return std::make_unique<SentencePieceTokenizer>(std::move(model), "the trained model");
}

#else

bool has_sentencepiece() {
    return false;
}

std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& model_file) {
    fail_without_sentencepiece(fmt::format("'{}'", model_file.string()));
}

std::unique_ptr<Tokenizer> train_sentencepiece(const std::vector<std::string>& sentences,
                                               std::int64_t vocab_size) {
    static_cast<void>(sentences);
    fail_without_sentencepiece(fmt::format("sentencepiece-train:{}", vocab_size));
}

#endif

}  // namespace isoflop::data
