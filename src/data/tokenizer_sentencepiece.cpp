// SentencePiece models, through the distribution's library where the build found it
// (ISOFLOP_HAVE_SENTENCEPIECE). Decoding is done here, from the pieces: the library's own turns the
// bytes of an incomplete character into U+FFFD, so that a stream could never complete it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "data/file_io.hpp"
#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"

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
constexpr std::size_t kLongestChunk = 65536;

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

    // Cuts after a line where possible: no piece of our own models crosses the end of a line.
    [[nodiscard]] std::size_t stream_boundary(std::string_view text) const override {
        const std::size_t newline = text.rfind('\n');
        if (newline != std::string_view::npos) return newline + 1;
        if (text.size() < kLongestChunk) return 0;
        const std::size_t space = text.rfind(' ');
        if (space != std::string_view::npos && space > 0) return space;
        return text.size() - incomplete_suffix(text);
    }

    [[nodiscard]] nlohmann::json to_json() const override {
        return {{"type", name()}, {"vocab_size", vocab_size()}};
    }
    [[nodiscard]] std::string_view model_bytes() const override { return model_; }

private:
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
