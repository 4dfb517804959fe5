#include "data/utf8_stream.hpp"

#include <algorithm>

#include "isoflop/config/utf8.hpp"

namespace isoflop::data {
namespace {

/// Bytes of the code point that begins with this byte; 1 for what begins none.
std::size_t expected_length(char first_byte) {
    const auto byte = static_cast<unsigned char>(first_byte);
    if (byte >= 0xF0U) return byte < 0xF5U ? 4 : 1;
    if (byte >= 0xE0U) return 3;
    return byte >= 0xC2U ? 2 : 1;
}

}  // namespace

std::size_t incomplete_suffix(std::string_view text) {
    constexpr std::size_t kMostMissing = 3;
    for (std::size_t length = 1; length <= std::min(kMostMissing, text.size()); ++length) {
        const char byte = text[text.size() - length];
        if (config::is_continuation_byte(byte)) continue;
        return expected_length(byte) > length ? length : 0;
    }
    return 0;
}

std::string replace_invalid_utf8(std::string_view text, std::uint64_t* replaced) {
    std::string result;
    result.reserve(text.size());
    while (true) {
        const std::size_t valid = config::find_invalid_utf8(text);
        result += text.substr(0, valid);
        if (valid == text.size()) return result;
        config::append_utf8(result, 0xFFFD);
        if (replaced != nullptr) ++*replaced;
        text.remove_prefix(valid + 1);
    }
}

}  // namespace isoflop::data
