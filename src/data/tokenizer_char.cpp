// One token per code point that occurs in the data: ids in code point order, as nanoGPT's
// character-level recipe numbers them, and the end of text last where there is one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "data/file_io.hpp"
#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"
#include "isoflop/config/quoted_text.hpp"
#include "isoflop/config/utf8.hpp"

namespace isoflop::data {
namespace {

class CharTokenizer final : public Tokenizer {
public:
    CharTokenizer(std::vector<char32_t> code_points, bool with_end_of_text)
        : code_points_(std::move(code_points)), with_end_of_text_(with_end_of_text) {
        ascii_ids_.fill(kUnknown);
        for (std::size_t id = 0; id < code_points_.size() && code_points_[id] < ascii_ids_.size();
             ++id) {
            ascii_ids_[code_points_[id]] = static_cast<std::int32_t>(id);
        }
    }

    [[nodiscard]] std::string name() const override { return "char"; }

    [[nodiscard]] std::int64_t vocab_size() const override {
        return static_cast<std::int64_t>(code_points_.size()) + (with_end_of_text_ ? 1 : 0);
    }

    [[nodiscard]] std::optional<std::int32_t> end_of_text() const override {
        if (!with_end_of_text_) return std::nullopt;
        return static_cast<std::int32_t>(code_points_.size());
    }

    [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
        std::vector<std::int32_t> tokens;
        tokens.reserve(text.size());
        for (std::size_t offset = 0; offset < text.size();) {
            const config::CodePoint code_point = config::decode_utf8(text, offset);
            if (!code_point.valid) {
                throw EncodeError(
                    fmt::format("invalid UTF-8 (byte 0x{:02X})",
                                static_cast<unsigned>(static_cast<unsigned char>(text[offset]))),
                    offset);
            }
            const std::int32_t id = find(code_point.value);
            if (id == kUnknown) {
                throw EncodeError(
                    fmt::format("the character {}, which is not in the vocabulary of {} symbols,",
                                config::character_name(code_point.value), code_points_.size()),
                    offset);
            }
            tokens.push_back(id);
            offset += code_point.length;
        }
        return tokens;
    }

    [[nodiscard]] std::string decode_bytes(std::span<const std::int32_t> tokens) const override {
        std::string text;
        for (const std::int32_t token : tokens) {
            if (token < 0 || static_cast<std::size_t>(token) >= code_points_.size()) continue;
            config::append_utf8(text, code_points_[static_cast<std::size_t>(token)]);
        }
        return text;
    }

    [[nodiscard]] std::size_t stream_boundary(std::string_view text) const override {
        return text.size() - incomplete_suffix(text);
    }

    [[nodiscard]] nlohmann::json to_json() const override {
        nlohmann::json symbols = nlohmann::json::array();
        for (const char32_t code_point : code_points_) {
            std::string symbol;
            config::append_utf8(symbol, code_point);
            symbols.push_back(std::move(symbol));
        }
        return {
            {"type", name()}, {"symbols", std::move(symbols)}, {"end_of_text", with_end_of_text_}};
    }

private:
    static constexpr std::int32_t kUnknown = -1;

    [[nodiscard]] std::int32_t find(char32_t code_point) const {
        if (code_point < ascii_ids_.size()) return ascii_ids_[code_point];
        const auto place = std::lower_bound(code_points_.begin(), code_points_.end(), code_point);
        if (place == code_points_.end() || *place != code_point) return kUnknown;
        return static_cast<std::int32_t>(place - code_points_.begin());
    }

    std::vector<char32_t> code_points_;  ///< ascending
    bool with_end_of_text_;
    std::array<std::int32_t, 128> ascii_ids_{};
};

}  // namespace

std::unique_ptr<Tokenizer> make_char_tokenizer(std::vector<char32_t> code_points,
                                               bool with_end_of_text) {
    std::sort(code_points.begin(), code_points.end());
    code_points.erase(std::unique(code_points.begin(), code_points.end()), code_points.end());
    return std::make_unique<CharTokenizer>(std::move(code_points), with_end_of_text);
}

std::unique_ptr<Tokenizer> char_tokenizer_from_json(const nlohmann::json& json,
                                                    const std::string& file_name) {
    const auto symbols = json.find("symbols");
    const auto end_of_text = json.find("end_of_text");
    if (symbols == json.end() || !symbols->is_array() || symbols->empty() ||
        end_of_text == json.end() || !end_of_text->is_boolean()) {
        fail(file_name,
             "damaged: a char tokenizer needs its symbols, and end_of_text as true or false");
    }
    std::vector<char32_t> code_points;
    for (const nlohmann::json& symbol : *symbols) {
        const std::string text = symbol.is_string() ? symbol.get<std::string>() : std::string();
        const config::CodePoint code_point =
            text.empty() ? config::CodePoint{} : config::decode_utf8(text, 0);
        const bool is_next = code_points.empty() || code_point.value > code_points.back();
        if (!code_point.valid || code_point.length != text.size() || !is_next) {
            fail(file_name, fmt::format("damaged: symbol {} of the char tokenizer is not one "
                                        "character, or out of order",
                                        code_points.size()));
        }
        code_points.push_back(code_point.value);
    }
    return make_char_tokenizer(std::move(code_points), end_of_text->get<bool>());
}

}  // namespace isoflop::data
