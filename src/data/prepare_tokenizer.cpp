#include "data/prepare_tokenizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <vector>

#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"
#include "isoflop/base/philox.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/utf8.hpp"

namespace isoflop::data {
namespace {

constexpr std::string_view kModelPrefix = "sentencepiece:";
constexpr std::string_view kTrainPrefix = "sentencepiece-train:";

[[noreturn]] void fail_spec(const std::string& text, std::string_view message) {
    throw ConfigError(fmt::format("--tokenizer {}: {}", text, message));
}

std::int64_t parse_vocab_size(const std::string& text) {
    constexpr std::int64_t kSmallest = 300;  // 256 bytes, the special pieces and some characters
    constexpr std::int64_t kLargest = 1'000'000;
    const std::string_view number = std::string_view(text).substr(kTrainPrefix.size());
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    const bool is_number = error == std::errc() && end == number.data() + number.size();
    if (!is_number || value < kSmallest || value > kLargest) {
        fail_spec(text,
                  fmt::format("the vocabulary size must be an integer from {} to {}; found '{}'",
                              kSmallest, kLargest, number));
    }
    return value;
}

/// The code points of all documents.
std::vector<char32_t> collect_alphabet(const TextInput& input, const PrepareOptions& options) {
    constexpr std::size_t kCodePoints = 0x110000;
    std::vector<bool> occurs(kCodePoints);
    ProgressMeter meter(options, "reading the alphabet", input.total_bytes());
    for (const InputDocument& document : input.documents) {
        std::string text;  // what is not looked at yet
        std::uint64_t text_offset = 0;
        const auto scan = [&](std::size_t length) {
            for (std::size_t offset = 0; offset < length;) {
                const config::CodePoint code_point = config::decode_utf8(text, offset);
                if (!code_point.valid) {
                    const auto byte =
                        static_cast<unsigned>(static_cast<unsigned char>(text[offset]));
                    fail_encoding(document, fmt::format("invalid UTF-8 (byte 0x{:02X})", byte),
                                  text_offset + offset);
                }
                occurs[code_point.value] = true;
                offset += code_point.length;
            }
            text.erase(0, length);
            text_offset += length;
        };
        read_document(document, [&](std::string_view piece) {
            text += piece;
            scan(text.size() - incomplete_suffix(text));
            meter.advance(piece.size());
        });
        scan(text.size());
    }
    meter.finish();
    std::vector<char32_t> alphabet;
    for (std::size_t value = 0; value < kCodePoints; ++value) {
        if (occurs[value]) alphabet.push_back(static_cast<char32_t>(value));
    }
    return alphabet;
}

/// Lines drawn evenly from all of the text, at most so many bytes of them.
class LineSample {
public:
    LineSample(std::uint64_t most_bytes, std::uint64_t text_bytes)
        : most_bytes_(most_bytes),
          share_(text_bytes == 0
                     ? 1.0
                     : static_cast<double>(most_bytes) / static_cast<double>(text_bytes)) {}

    void add(std::string_view line) {
        constexpr std::size_t kLongest = 4096;  // SentencePiece leaves out what is longer
        while (!line.empty()) {
            std::string_view part = line.substr(0, kLongest);
            if (part.size() < line.size()) part.remove_suffix(incomplete_suffix(part));
            line.remove_prefix(part.size());
            const double draw = to_unit_interval(philox({number_++, 0, 0, 0}, philox_key(0))[0]);
            if (draw >= share_ || bytes_ + part.size() > most_bytes_) continue;
            bytes_ += part.size();
            lines_.push_back(replace_invalid_utf8(part));
        }
    }
    [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

private:
    std::uint64_t most_bytes_;
    double share_;
    std::uint64_t bytes_ = 0;
    std::uint32_t number_ = 0;
    std::vector<std::string> lines_;
};

std::unique_ptr<Tokenizer> train_tokenizer(std::int64_t vocab_size, const TextInput& input,
                                           const PrepareOptions& options) {
    constexpr std::size_t kLongestUnbroken = 1U << 16U;
    LineSample sample(options.tokenizer_sample_bytes, input.total_bytes().value_or(0));
    ProgressMeter meter(options, "training the tokenizer", input.total_bytes());
    for (const InputDocument& document : input.documents) {
        std::string text;
        read_document(document, [&](std::string_view piece) {
            text += piece;
            std::size_t begin = 0;
            for (std::size_t end = text.find('\n'); end != std::string::npos;
                 end = text.find('\n', begin)) {
                sample.add(std::string_view(text).substr(begin, end - begin));
                begin = end + 1;
            }
            text.erase(0, begin);
            if (text.size() > kLongestUnbroken) {
                const std::size_t length = text.size() - incomplete_suffix(text);
                sample.add(std::string_view(text).substr(0, length));
                text.erase(0, length);
            }
            meter.advance(piece.size());
        });
        sample.add(text);
    }
    std::unique_ptr<Tokenizer> tokenizer = train_sentencepiece(sample.lines(), vocab_size);
    meter.finish();
    return tokenizer;
}

}  // namespace

TokenizerSpec parse_tokenizer_spec(const std::string& text) {
    if (text == "byte") return {};
    if (text == "char") return {.kind = TokenizerKind::character};
    if (text.starts_with(kModelPrefix)) {
        if (!has_sentencepiece()) fail_without_sentencepiece("--tokenizer " + text);
        if (text.size() == kModelPrefix.size())
            fail_spec(text, "name a model file after the colon");
        return {.kind = TokenizerKind::sentencepiece, .model = text.substr(kModelPrefix.size())};
    }
    if (text.starts_with(kTrainPrefix)) {
        if (!has_sentencepiece()) fail_without_sentencepiece("--tokenizer " + text);
        return {.kind = TokenizerKind::sentencepiece_train, .vocab_size = parse_vocab_size(text)};
    }
    constexpr std::array<std::string_view, 4> kKinds = {"byte", "char", "sentencepiece",
                                                        "sentencepiece-train"};
    fail_spec(
        text,
        fmt::format(
            "allowed are byte, char, sentencepiece:MODEL and sentencepiece-train:VOCAB_SIZE{}",
            suggestion(text.substr(0, text.find(':')), kKinds)));
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerSpec& spec, const TextInput& input,
                                          const PrepareOptions& options) {
    switch (spec.kind) {
        case TokenizerKind::byte: break;
        case TokenizerKind::character:
            return make_char_tokenizer(collect_alphabet(input, options),
                                       input.documents.size() > 1);
        case TokenizerKind::sentencepiece: return load_sentencepiece(spec.model);
        case TokenizerKind::sentencepiece_train:
            return train_tokenizer(spec.vocab_size, input, options);
    }
    return make_byte_tokenizer();
}

void fail_encoding(const InputDocument& document, const std::string& reason,
                   std::uint64_t byte_offset) {
    fail(document.name,
         fmt::format("{} at byte {}: convert the text to UTF-8 (for example with iconv), or use "
                     "--tokenizer byte, which takes any bytes",
                     reason, byte_offset));
}

}  // namespace isoflop::data
