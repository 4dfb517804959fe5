// Writes one shard of our format (token_file.hpp) in constant memory. The header is written last,
// so an incomplete file is never taken for a shard.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace isoflop::data {

struct ShardInfo {
    std::int64_t vocab_size = 0;       ///< decides the width: up to 65536 uint16, above uint32
    std::uint64_t tokenizer_hash = 0;  ///< 0 = unknown
};

class TokenFileWriter {
public:
    /// Creates the file, in place of one that has the name. Throws IoError when that fails, as do
    /// the functions below on a full disk.
    TokenFileWriter(std::filesystem::path path, ShardInfo info);
    TokenFileWriter(TokenFileWriter&&) noexcept;
    TokenFileWriter& operator=(TokenFileWriter&&) noexcept;
    TokenFileWriter(const TokenFileWriter&) = delete;
    TokenFileWriter& operator=(const TokenFileWriter&) = delete;
    ~TokenFileWriter();  ///< without finish() the file stays unreadable; the owner removes it

    /// Tokens must be within the vocabulary (IoError otherwise).
    void append(std::span<const std::int32_t> tokens);
    [[nodiscard]] std::uint64_t size() const;  ///< tokens so far

    /// Writes checksums and header, and brings the file to disk.
    void finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace isoflop::data
