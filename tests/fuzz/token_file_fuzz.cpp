// Fuzz target: token files of the three formats. Of our shards the checksums are made right where
// the first byte asks for it, so that what is behind them is reached.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "fuzz_support.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/data/token_file.hpp"

namespace {

constexpr std::size_t kHeaderBytes = 64;

void put_number(std::string& bytes, std::size_t at, std::uint32_t number) {
    std::memcpy(bytes.data() + at, &number, sizeof number);
}

/// Checksums of one block, of the table and of the header.
void make_checksums_right(std::string& bytes) {
    if (bytes.size() < kHeaderBytes + 4) return;
    bytes.replace(0, 8, "ISOFLOPT");
    const std::size_t table = bytes.size() - 4;
    put_number(bytes, table,
               isoflop::crc32c(std::string_view(bytes).substr(kHeaderBytes, table - kHeaderBytes)));
    put_number(bytes, 40, isoflop::crc32c(std::string_view(bytes).substr(table)));
    put_number(bytes, 60, isoflop::crc32c(std::string_view(bytes).substr(0, 60)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    if (size == 0) return 0;
    std::string bytes(text_of(data + 1, size - 1));
    if ((data[0] & 1U) != 0) make_checksums_right(bytes);
    const auto path = scratch().put("tokens.bin", bytes);
    expect_read_or_refused([&] {
        const data::TokenFile file = data::TokenFile::open(path);
        require(file.size() > 0 && file.size() <= size, "tokens lie within the file");
        std::vector<std::int32_t> tokens(file.size());
        file.copy(0, tokens);
        require(std::none_of(tokens.begin(), tokens.end(), [](auto token) { return token < 0; }),
                "no token is negative");
        file.copy(file.size() - 1, std::span(tokens).first(1), 50);
        file.verify();
    });
    return 0;
}
