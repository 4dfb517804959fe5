// Fuzz target: frames of the store over which ranks meet, in pieces as a socket gives them.
#include <algorithm>
#include <string>

#include "comm/store_message.hpp"
#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop::comm;
    using isoflop::fuzz::require;
    if (size == 0) return 0;
    const std::string_view stream = isoflop::fuzz::text_of(data + 1, size - 1);
    const std::size_t piece = data[0] == 0 ? stream.size() : data[0];
    std::string bytes;
    std::string encoded;
    std::size_t given = 0;
    try {
        while (given < stream.size()) {
            const auto next = stream.substr(given, std::max<std::size_t>(piece, 1));
            bytes += next;
            given += next.size();
            while (const auto message = take_message(bytes)) {
                require(message->key.size() <= kLargestKey, "keys are limited");
                encoded += encode(*message);
            }
        }
    } catch (const BadMessage&) {
        return 0;
    }
    require(encoded.size() + bytes.size() == stream.size(), "every byte belongs to a message");
    return 0;
}
