#include "comm/store_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace isoflop::comm {
namespace {

constexpr std::string_view kMagic = "IFS2";
constexpr std::size_t kHeaderBytes = 24;

void append_number(std::string& bytes, std::uint64_t number, int width) {
    for (int byte = width - 1; byte >= 0; --byte) {
        bytes += static_cast<char>((number >> (8 * byte)) & 0xFFU);
    }
}

std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t width) {
    std::uint64_t number = 0;
    for (std::size_t byte = at; byte < at + width; ++byte) {
        number = (number << 8U) | static_cast<unsigned char>(bytes[byte]);
    }
    return number;
}

}  // namespace

std::string encode(const StoreMessage& message) {
    if (message.key.size() > kLargestKey || message.value.size() > kLargestValue) {
        throw std::invalid_argument(fmt::format("store: key of {} bytes or value of {} is too long",
                                                message.key.size(), message.value.size()));
    }
    std::string bytes(kMagic);
    append_number(bytes, static_cast<std::uint64_t>(message.kind), 1);
    append_number(bytes, 0, 3);
    append_number(bytes, static_cast<std::uint64_t>(message.number), 8);
    append_number(bytes, message.key.size(), 4);
    append_number(bytes, message.value.size(), 4);
    return bytes + message.key + message.value;
}

std::optional<StoreMessage> take_message(std::string& bytes, MessageLimits limits) {
    const std::size_t known = std::min(bytes.size(), kMagic.size());
    if (std::string_view(bytes).substr(0, known) != kMagic.substr(0, known)) {
        throw BadMessage("not a message of this version's store");
    }
    if (bytes.size() < kHeaderBytes) return std::nullopt;
    const std::uint64_t kind = number_at(bytes, 4, 1);
    const std::uint64_t key_size = number_at(bytes, 16, 4);
    const std::uint64_t value_size = number_at(bytes, 20, 4);
    if (kind < static_cast<std::uint64_t>(MessageKind::hello) ||
        kind > static_cast<std::uint64_t>(MessageKind::proof) || key_size > limits.key ||
        value_size > limits.value) {
        throw BadMessage("a damaged message of the store");
    }
    const std::size_t size = kHeaderBytes + key_size + value_size;
    if (bytes.size() < size) return std::nullopt;
    StoreMessage message{.kind = static_cast<MessageKind>(kind),
                         .number = static_cast<std::int64_t>(number_at(bytes, 8, 8)),
                         .key = bytes.substr(kHeaderBytes, key_size),
                         .value = bytes.substr(kHeaderBytes + key_size, value_size)};
    bytes.erase(0, size);
    return message;
}

}  // namespace isoflop::comm
