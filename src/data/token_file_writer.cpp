#include "isoflop/data/token_file_writer.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "data/file_io.hpp"
#include "data/token_file_layout.hpp"
#include "isoflop/base/checksum.hpp"

namespace isoflop::data {

struct TokenFileWriter::State {
    std::filesystem::path path;
    ShardInfo info;
    FileDescriptor file;
    std::size_t bytes_per_token = 2;
    std::uint64_t size = 0;
    std::vector<std::byte> block;          ///< tokens of the block that is being filled
    std::vector<std::uint32_t> checksums;  ///< of the blocks written

    void flush_block() {
        if (block.empty()) return;
        write_all(file, block, path);
        checksums.push_back(crc32c(block));
        block.clear();
    }

    template <typename Token>
    void append(std::span<const std::int32_t> tokens) {
        for (const std::int32_t token : tokens) {
            if (token < 0 || token >= info.vocab_size) {
                fail(path, fmt::format("token {} cannot be written: the vocabulary has {} tokens",
                                       token, info.vocab_size));
            }
            const auto stored = static_cast<Token>(token);
            const auto bytes = std::as_bytes(std::span(&stored, 1));
            block.insert(block.end(), bytes.begin(), bytes.end());
            if (block.size() == layout::kBlockBytes) flush_block();
        }
        size += tokens.size();
    }
};

TokenFileWriter::TokenFileWriter(std::filesystem::path path, ShardInfo info)
    : state_(std::make_unique<State>()) {
    state_->file = create_file(path);
    state_->path = std::move(path);
    state_->info = info;
    state_->bytes_per_token = info.vocab_size <= layout::kLargestUint16Vocabulary ? 2 : 4;
    state_->block.reserve(layout::kBlockBytes);
    const std::vector<std::byte> no_header_yet(sizeof(layout::Header));
    write_all(state_->file, no_header_yet, state_->path);
}

TokenFileWriter::TokenFileWriter(TokenFileWriter&&) noexcept = default;
TokenFileWriter& TokenFileWriter::operator=(TokenFileWriter&&) noexcept = default;
TokenFileWriter::~TokenFileWriter() = default;

std::uint64_t TokenFileWriter::size() const {
    return state_->size;
}

void TokenFileWriter::append(std::span<const std::int32_t> tokens) {
    if (state_->bytes_per_token == 2) {
        state_->append<std::uint16_t>(tokens);
    } else {
        state_->append<std::uint32_t>(tokens);
    }
}

void TokenFileWriter::finish() {
    state_->flush_block();
    const auto table = std::as_bytes(std::span(state_->checksums));
    write_all(state_->file, table, state_->path);
    layout::Header header{
        .bytes_per_token = static_cast<std::uint32_t>(state_->bytes_per_token),
        .token_count = state_->size,
        .vocab_size = static_cast<std::uint64_t>(state_->info.vocab_size),
        .tokenizer_hash = state_->info.tokenizer_hash,
        .table_crc = crc32c(table),
    };
    header.header_crc = crc32c(layout::checked_bytes(header));
    write_all_at(state_->file.get(), std::as_bytes(std::span(&header, 1)), 0, state_->path);
    close_synced(std::move(state_->file), state_->path);
}

}  // namespace isoflop::data
