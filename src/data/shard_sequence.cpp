#include "data/shard_sequence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "isoflop/data/token_file.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

ShardSequence::ShardSequence(fs::path folder, Split split, ShardInfo info,
                             std::uint64_t shard_tokens)
    : folder_(std::move(folder)), split_(split), info_(info), shard_tokens_(shard_tokens) {}

void ShardSequence::append(std::span<const std::int32_t> tokens) {
    size_ += tokens.size();
    while (!tokens.empty()) {
        if (!writer_) {
            shards_.push_back(
                {.file = fmt::format("{}_{:03}.bin", file_prefix(split_), shards_.size())});
            writer_.emplace(folder_ / shards_.back().file, info_);
        }
        const std::size_t count =
            std::min<std::uint64_t>(tokens.size(), shard_tokens_ - writer_->size());
        writer_->append(tokens.first(count));
        tokens = tokens.subspan(count);
        if (writer_->size() == shard_tokens_) finish_shard();
    }
}

void ShardSequence::finish_shard() {
    shards_.back().tokens = writer_->size();
    writer_->finish();
    writer_.reset();
}

std::vector<PreparedShard> ShardSequence::finish() {
    if (writer_) finish_shard();
    return std::move(shards_);
}

namespace {

/// append(tokens first .. end-1 of a file), a buffer at a time.
template <typename Append>
void copy_tokens(const TokenFile& file, std::uint64_t first, std::uint64_t end, Append append) {
    std::vector<std::int32_t> buffer(1U << 16U);
    while (first < end) {
        const std::size_t count = std::min<std::uint64_t>(buffer.size(), end - first);
        const auto tokens = std::span(buffer).first(count);
        file.copy(first, tokens);
        append(tokens);
        first += count;
    }
}

}  // namespace

std::vector<PreparedShard> hold_out_tail(const fs::path& folder,
                                         std::vector<PreparedShard>& train_shards,
                                         std::uint64_t first_held_out, ShardInfo info,
                                         std::uint64_t shard_tokens) {
    ShardSequence validation(folder, Split::validation, info, shard_tokens);
    std::vector<PreparedShard> kept_shards;
    std::uint64_t shard_start = 0;
    for (PreparedShard& shard : train_shards) {
        const std::uint64_t kept =
            first_held_out > shard_start ? std::min(first_held_out - shard_start, shard.tokens) : 0;
        shard_start += shard.tokens;
        if (kept < shard.tokens) {
            const fs::path whole = folder / "whole_shard.tmp";
            fs::rename(folder / shard.file, whole);
            const TokenFile file = TokenFile::open(whole);
            if (kept > 0) {
                TokenFileWriter head(folder / shard.file, info);
                copy_tokens(file, 0, kept,
                            [&](std::span<const std::int32_t> tokens) { head.append(tokens); });
                head.finish();
            }
            copy_tokens(file, kept, file.size(),
                        [&](std::span<const std::int32_t> tokens) { validation.append(tokens); });
            fs::remove(whole);
        }
        if (kept > 0) kept_shards.push_back({.file = std::move(shard.file), .tokens = kept});
    }
    train_shards = std::move(kept_shards);
    return validation.finish();
}

}  // namespace isoflop::data
