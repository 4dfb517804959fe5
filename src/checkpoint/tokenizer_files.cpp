#include "tokenizer_files.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr const char* kBeginningOfText = "<|startoftext|>";

std::string utf8(std::uint32_t code_point) {
    std::string text;
    if (code_point < 0x80) {
        text += static_cast<char>(code_point);
    } else {  // below 0x800: all that is needed here
        text += static_cast<char>(0xC0U | (code_point >> 6U));
        text += static_cast<char>(0x80U | (code_point & 0x3FU));
    }
    return text;
}

/// The printable character that stands for each byte in byte-level tokenizers (GPT-2's
/// bytes_to_unicode): printable Latin-1 represents itself, the other bytes get U+0100 and up, in
/// order.
std::array<std::string, 256> byte_characters() {
    std::array<std::string, 256> characters;
    std::uint32_t next = 0x100;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        const bool printable =
            (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        characters[byte] = utf8(printable ? byte : next++);
    }
    return characters;
}

ordered_json special_token(const char* text, std::int64_t id) {
    return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

ordered_json special_tokens(const TokenizerInformation& tokenizer) {
    ordered_json tokens = ordered_json::array();
    if (tokenizer.end_of_text) tokens.push_back(special_token(kEndOfText, *tokenizer.end_of_text));
    if (tokenizer.beginning_of_text && tokenizer.beginning_of_text != tokenizer.end_of_text) {
        tokens.push_back(special_token(kBeginningOfText, *tokenizer.beginning_of_text));
    }
    return tokens;
}

/// A tokenizer without merges: every symbol of the vocabulary is one token.
ordered_json tokenizer_json(const TokenizerInformation& tokenizer, ordered_json vocabulary) {
    const bool bytes = tokenizer.kind == TokenizerInformation::Kind::byte;
    const ordered_json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", false},
                                     {"use_regex", false}};
    for (const ordered_json& token : special_tokens(tokenizer)) {
        vocabulary[token["content"].get<std::string>()] = token["id"];
    }
    return {{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", special_tokens(tokenizer)},
            {"normalizer", nullptr},
            {"pre_tokenizer", bytes ? byte_level : ordered_json(nullptr)},
            {"post_processor", nullptr},
            {"decoder", bytes ? byte_level : ordered_json{{"type", "Fuse"}}},
            {"model",
             {{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr},
              {"fuse_unk", false},
              {"byte_fallback", false},
              {"vocab", std::move(vocabulary)},
              {"merges", ordered_json::array()}}}};
}

ordered_json tokenizer_config(const TokenizerInformation& tokenizer, const char* tokenizer_class) {
    ordered_json config = {{"tokenizer_class", tokenizer_class},
                           {"clean_up_tokenization_spaces", false},
                           {"add_bos_token", false},
                           {"add_eos_token", false}};
    const bool own_names = tokenizer.kind != TokenizerInformation::Kind::sentencepiece;
    if (tokenizer.end_of_text && own_names) config["eos_token"] = kEndOfText;
    if (tokenizer.beginning_of_text && own_names) {
        config["bos_token"] =
            tokenizer.beginning_of_text == tokenizer.end_of_text ? kEndOfText : kBeginningOfText;
    }
    return config;
}

ordered_json vocabulary_of(const TokenizerInformation& tokenizer) {
    ordered_json vocabulary = ordered_json::object();
    if (tokenizer.kind == TokenizerInformation::Kind::byte) {
        for (const std::string& character : byte_characters()) {
            const std::size_t id = vocabulary.size();
            vocabulary[character] = id;
        }
        return vocabulary;
    }
    for (const std::string& character : tokenizer.characters) {
        const std::size_t id = vocabulary.size();
        if (!vocabulary.emplace(character, id).second) {
            throw ConfigError(fmt::format("the tokenizer has the character '{}' twice", character));
        }
    }
    return vocabulary;
}

}  // namespace

void write_tokenizer_files(const TokenizerInformation& tokenizer,
                           const std::filesystem::path& directory) {
    using Kind = TokenizerInformation::Kind;
    switch (tokenizer.kind) {
        case Kind::unknown: return;
        case Kind::byte:
        case Kind::character:
            write_text_file(directory / "tokenizer.json",
                            tokenizer_json(tokenizer, vocabulary_of(tokenizer)).dump(2) + "\n");
            write_text_file(directory / "tokenizer_config.json",
                            tokenizer_config(tokenizer, "PreTrainedTokenizerFast").dump(2) + "\n");
            return;
        case Kind::sentencepiece:
            copy_regular_file(tokenizer.model_file, directory / "tokenizer.model");
            write_text_file(directory / "tokenizer_config.json",
                            tokenizer_config(tokenizer, "LlamaTokenizer").dump(2) + "\n");
            return;
        case Kind::files:
            for (const auto& file : tokenizer.files)
                copy_regular_file(file, directory / file.filename());
            return;
    }
}

}  // namespace isoflop::checkpoint
