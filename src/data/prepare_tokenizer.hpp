// Makes the tokenizer that prepare-data was asked for; some kinds read the text first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/text_input.hpp"
#include "isoflop/data/tokenizer.hpp"

namespace isoflop::data {

enum class TokenizerKind { byte, character, sentencepiece, sentencepiece_train };

struct TokenizerSpec {
    TokenizerKind kind = TokenizerKind::byte;
    std::string model{};          ///< sentencepiece
    std::int64_t vocab_size = 0;  ///< sentencepiece_train

    [[nodiscard]] bool reads_text_first() const {
        return kind == TokenizerKind::character || kind == TokenizerKind::sentencepiece_train;
    }
};

/// Throws ConfigError with the allowed forms and the nearest spelling.
[[nodiscard]] TokenizerSpec parse_tokenizer_spec(const std::string& text);

/// Throws IoError where the text cannot be represented (invalid UTF-8 for char), with file and byte
/// offset.
[[nodiscard]] std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerSpec& spec,
                                                        const TextInput& input,
                                                        const PrepareOptions& options);

/// For text that the tokenizer refuses: IoError with document, byte offset and what to do.
[[noreturn]] void fail_encoding(const InputDocument& document, const std::string& reason,
                                std::uint64_t byte_offset);

}  // namespace isoflop::data
