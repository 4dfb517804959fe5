#include "isoflop/data/tokenizer.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "data/file_io.hpp"
#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"
#include "isoflop/base/fnv1a.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/config/utf8.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kTokenizerFileName = "tokenizer_isoflop.json";
constexpr std::size_t kLargestJson = 256U << 20U;

/// One token per byte, and one for the end of text.
class ByteTokenizer final : public Tokenizer {
public:
    [[nodiscard]] std::string name() const override { return "byte"; }
    [[nodiscard]] std::int64_t vocab_size() const override { return kEndOfText + 1; }
    [[nodiscard]] std::optional<std::int32_t> end_of_text() const override { return kEndOfText; }

    [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
        std::vector<std::int32_t> tokens(text.size());
        for (std::size_t index = 0; index < text.size(); ++index) {
            tokens[index] = static_cast<unsigned char>(text[index]);
        }
        return tokens;
    }

    [[nodiscard]] std::string decode_bytes(std::span<const std::int32_t> tokens) const override {
        std::string text;
        for (const std::int32_t token : tokens) {
            if (token >= 0 && token < kEndOfText) text += static_cast<char>(token);
        }
        return text;
    }

    [[nodiscard]] std::size_t stream_boundary(std::string_view text) const override {
        return text.size();
    }
    [[nodiscard]] nlohmann::json to_json() const override { return {{"type", name()}}; }

private:
    static constexpr std::int32_t kEndOfText = 256;
};

nlohmann::json read_json(const fs::path& path) {
    return nlohmann::json(config::read_json_file(path, kLargestJson));
}

}  // namespace

EncodeError::EncodeError(std::string reason, std::size_t byte_offset)
    : ConfigError(fmt::format("the text cannot be tokenized: {} at byte {}", reason, byte_offset)),
      reason_(std::move(reason)),
      byte_offset_(byte_offset) {}

std::vector<std::int32_t> Tokenizer::encode_after(std::string_view /*before*/,
                                                  std::string_view text) const {
    return encode(text);
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
    return replace_invalid_utf8(decode_bytes(tokens));
}

std::uint64_t Tokenizer::hash() const {
    const std::uint64_t hash = fnv1a(model_bytes(), fnv1a(to_json().dump()));
    return hash == 0 ? 1 : hash;
}

std::unique_ptr<Tokenizer> make_byte_tokenizer() {
    return std::make_unique<ByteTokenizer>();
}

std::unique_ptr<Tokenizer> tokenizer_from_json(const nlohmann::json& json, const fs::path& folder,
                                               const std::string& file_name) {
    const auto type = json.is_object() ? json.find("type") : json.end();
    if (!json.is_object() || type == json.end() || !type->is_string()) {
        fail(file_name, "damaged: the tokenizer has no type");
    }
    if (*type == "byte") return make_byte_tokenizer();
    if (*type == "char") return char_tokenizer_from_json(json, file_name);
    if (*type == "sentencepiece") return load_sentencepiece(folder / kModelFileName);
    fail(file_name,
         fmt::format("tokenizer type '{}'; this build knows byte, char and sentencepiece",
                     type->get<std::string>()));
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder) {
    std::error_code error;
    const fs::path tokenizer_file = folder / kTokenizerFileName;
    if (fs::exists(tokenizer_file, error)) {
        return tokenizer_from_json(read_json(tokenizer_file), folder, tokenizer_file.string());
    }
    const fs::path meta_file = folder / kMetaFileName;
    // The folder of a published model has its SentencePiece model alone.
    if (!fs::exists(meta_file, error) && fs::exists(folder / kModelFileName, error))
        return load_sentencepiece(folder / kModelFileName);
    if (!fs::exists(meta_file, error)) {
        fail(folder, fmt::format("holds no tokenizer: neither {} nor {}", kMetaFileName,
                                 kTokenizerFileName));
    }
    const nlohmann::json meta = read_json(meta_file);
    const auto tokenizer = meta.is_object() ? meta.find("tokenizer") : meta.end();
    if (!meta.is_object() || tokenizer == meta.end())
        fail(meta_file, "damaged: it names no tokenizer");
    return tokenizer_from_json(*tokenizer, folder, meta_file.string());
}

void save_tokenizer(const Tokenizer& tokenizer, const fs::path& folder) {
    if (!tokenizer.model_bytes().empty())
        write_text_file(folder / kModelFileName, tokenizer.model_bytes());
    write_text_file(folder / kTokenizerFileName, tokenizer.to_json().dump(2) + "\n");
}

std::string StreamDecoder::push(std::int32_t token) {
    std::string bytes;
    if (previous_) {
        const std::array<std::int32_t, 2> pair{*previous_, token};
        bytes = tokenizer_->decode_bytes(pair).substr(
            tokenizer_->decode_bytes(std::span(pair).first(1)).size());
    } else {
        bytes = tokenizer_->decode_bytes(std::span(&token, 1));
    }
    previous_ = token;
    pending_ += bytes;
    const std::size_t complete = pending_.size() - incomplete_suffix(pending_);
    std::string text = replace_invalid_utf8(std::string_view(pending_).substr(0, complete));
    pending_.erase(0, complete);
    return text;
}

std::string StreamDecoder::finish() {
    return replace_invalid_utf8(std::exchange(pending_, {}));
}

}  // namespace isoflop::data
