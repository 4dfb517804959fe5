// A file of tokens, read where a window needs them. Three formats are read, distinguished by their
// first bytes:
//  - our shard (magic "ISOFLOPT"), which prepare-data writes: it knows its vocabulary and
//    tokenizer, and every 64 KiB of tokens has a checksum, verified when a token of that block is
//    first read. So opening costs nothing even for a huge shard, and a damaged block never reaches
//    a training step;
//  - llm.c .bin: 256 int32 (magic, version, token count), then uint16 (magic 20240520) or uint32
//    (magic 20240801);
//  - nanoGPT .bin: bare uint16 or uint32, no header; recognised by the name's ending, and its width
//    by the values: of 32-bit tokens every second 16-bit word is small.
// All numbers are little-endian. Layout of our shard:
//   offset 0  char[8]  "ISOFLOPT"             offset 32  u64  tokenizer hash (0 unknown)
//          8  u32      version, 1                    40  u32  CRC-32C of the checksum table
//         12  u32      bytes per token, 2 or 4       44  u32  bytes per checksum block, 65536
//         16  u64      token count                   48  u64  zero
//         24  u64      vocabulary size               56  u32  zero
//                                                    60  u32  CRC-32C of bytes 0 to 59
//   offset 64  tokens, then one CRC-32C (u32) for each block of tokens; the last block may be short
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace isoflop::data {

enum class TokenFormat { isoflop, llmc, nanogpt };

[[nodiscard]] const char* to_string(TokenFormat format);

class TokenFile {
public:
    /// Throws IoError naming the file when it is missing, empty, truncated, longer than its header
    /// says, damaged, or no token file at all.
    [[nodiscard]] static TokenFile open(const std::filesystem::path& path);

    TokenFile(TokenFile&&) noexcept;
    TokenFile& operator=(TokenFile&&) noexcept;
    TokenFile(const TokenFile&) = delete;
    TokenFile& operator=(const TokenFile&) = delete;
    ~TokenFile();

    [[nodiscard]] std::uint64_t size() const;            ///< tokens
    [[nodiscard]] std::int64_t vocab_size() const;       ///< 0 if the file does not name it
    [[nodiscard]] std::uint64_t tokenizer_hash() const;  ///< 0 if the file does not name it
    [[nodiscard]] TokenFormat format() const;
    [[nodiscard]] int bytes_per_token() const;
    [[nodiscard]] const std::filesystem::path& path() const;

    /// Tokens first, first + 1, ... Throws IoError with file and position when a token is negative
    /// or not below `vocab_limit` (0: the file's own vocabulary), or when the block that holds it
    /// is damaged. Reading beyond the end is a programming error (std::out_of_range). Safe from
    /// several threads.
    void copy(std::uint64_t first, std::span<std::int32_t> tokens,
              std::int64_t vocab_limit = 0) const;

    /// What tells these tokens from others: a checksum of all their bytes where blocks have
    /// checksums or the file is not larger than kWholeChecksumBytes, else of 64 KiB at each of 1024
    /// places.
    struct Fingerprint {
        std::uint32_t checksum = 0;
        bool is_of_all = true;
    };
    static constexpr std::uint64_t kWholeChecksumBytes = std::uint64_t{256} << 20U;
    [[nodiscard]] Fingerprint fingerprint() const;

    /// Checks every block now; throws IoError at the first damaged one.
    void verify() const;

private:
    struct State;
    explicit TokenFile(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

}  // namespace isoflop::data
