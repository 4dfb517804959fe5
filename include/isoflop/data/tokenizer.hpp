// Text to tokens and back. Three kinds:
//   byte           256 byte values and end of text = 256; takes any bytes
//   char           one token per code point that occurs in the data, in code point order (nanoGPT's
//                  character level)
//   sentencepiece  a SentencePiece model (only in builds that found the library)
// A tokenizer is immutable, and safe to use from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/error.hpp"

namespace isoflop::data {

/// Text that this tokenizer cannot represent. The offset is within the text given to encode().
class EncodeError : public ConfigError {
public:
    EncodeError(std::string reason, std::size_t byte_offset);
    [[nodiscard]] const std::string& reason() const { return reason_; }
    [[nodiscard]] std::size_t byte_offset() const { return byte_offset_; }

private:
    std::string reason_;
    std::size_t byte_offset_;
};

class Tokenizer {
public:
    Tokenizer() = default;
    Tokenizer(const Tokenizer&) = delete;
    Tokenizer& operator=(const Tokenizer&) = delete;
    virtual ~Tokenizer() = default;

    [[nodiscard]] virtual std::string name() const = 0;  ///< "byte", "char" or "sentencepiece"
    [[nodiscard]] virtual std::int64_t vocab_size() const = 0;
    /// The token between documents, which text itself never produces; none for a char vocabulary of
    /// one document.
    [[nodiscard]] virtual std::optional<std::int32_t> end_of_text() const = 0;

    /// Throws EncodeError on text it cannot represent.
    [[nodiscard]] virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
    /// The tokens of `text` behind `before`, where the two were cut at a stream_boundary: encode()
    /// of both without the tokens of `before`, of which the last bytes suffice. Empty: a text
    /// begins.
    [[nodiscard]] virtual std::vector<std::int32_t> encode_after(std::string_view before,
                                                                 std::string_view text) const;
    /// The bytes of these tokens as they are: decode_bytes(encode(x)) == x for byte and char. End
    /// of text and ids outside the vocabulary give nothing.
    [[nodiscard]] virtual std::string decode_bytes(std::span<const std::int32_t> tokens) const = 0;
    /// As decode_bytes, made valid UTF-8: each byte that is not becomes U+FFFD. Safe to print and
    /// to put in JSON.
    [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const;

    /// How many leading bytes of `text` can be encoded now, such that encode() of them and
    /// encode_after() of the rest give the tokens of the whole: how a stream is cut. 0: more text
    /// is needed.
    [[nodiscard]] virtual std::size_t stream_boundary(std::string_view text) const = 0;

    /// The data from which the tokenizer can be made again, except the model file of sentencepiece,
    /// which is a separate file.
    [[nodiscard]] virtual nlohmann::json to_json() const = 0;
    /// Bytes of that model file; empty for the other kinds.
    [[nodiscard]] virtual std::string_view model_bytes() const { return {}; }
    /// Equal vocabularies have equal hashes; never 0. Shards and checkpoints contain it.
    [[nodiscard]] std::uint64_t hash() const;
};

[[nodiscard]] std::unique_ptr<Tokenizer> make_byte_tokenizer();

/// From the code points of the vocabulary; sorted and made unique here.
[[nodiscard]] std::unique_ptr<Tokenizer> make_char_tokenizer(std::vector<char32_t> code_points,
                                                             bool with_end_of_text);

/// True when this build has the SentencePiece library.
[[nodiscard]] bool has_sentencepiece();
/// From a model file. Throws ConfigError when this build lacks the library, IoError when the file
/// is not a model.
[[nodiscard]] std::unique_ptr<Tokenizer> load_sentencepiece(
    const std::filesystem::path& model_file);

/// Reads the result of to_json(); a model file is looked up in `folder`. Throws IoError naming
/// `file_name`.
[[nodiscard]] std::unique_ptr<Tokenizer> tokenizer_from_json(const nlohmann::json& json,
                                                             const std::filesystem::path& folder,
                                                             const std::string& file_name);

/// From a data folder (meta.json), a checkpoint folder (tokenizer_isoflop.json) or the folder of a
/// published model (tokenizer.model). Throws IoError.
[[nodiscard]] std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);
/// Writes tokenizer_isoflop.json, and the model file if there is one, into an existing folder.
void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder);

/// Decodes a growing sequence of tokens: bytes of an incomplete character are kept until the
/// character is complete.
class StreamDecoder {
public:
    /// `previous`: the token before the first one, for text that goes on from a prompt.
    explicit StreamDecoder(const Tokenizer& tokenizer, std::optional<std::int32_t> previous = {})
        : tokenizer_(&tokenizer), previous_(previous) {}
    /// Text that became complete with this token, maybe empty.
    [[nodiscard]] std::string push(std::int32_t token);
    /// The remaining bytes, with U+FFFD for each byte of an incomplete character.
    [[nodiscard]] std::string finish();

private:
    const Tokenizer* tokenizer_;
    std::optional<std::int32_t> previous_;  ///< a piece may look different after another one
    std::string pending_;                   ///< the beginning of a character
};

}  // namespace isoflop::data
