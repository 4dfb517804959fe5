// A long stream of tokens, cut into numbered shards train_000.bin, train_001.bin, ...
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "isoflop/data/prepare.hpp"
#include "isoflop/data/split.hpp"
#include "isoflop/data/token_file_writer.hpp"

namespace isoflop::data {

class ShardSequence {
public:
    ShardSequence(std::filesystem::path folder, Split split, ShardInfo info,
                  std::uint64_t shard_tokens);
    void append(std::span<const std::int32_t> tokens);
    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// Finishes the last shard; call once.
    [[nodiscard]] std::vector<PreparedShard> finish();

private:
    void finish_shard();

    std::filesystem::path folder_;
    Split split_;
    ShardInfo info_;
    std::uint64_t shard_tokens_;
    std::uint64_t size_ = 0;
    std::optional<TokenFileWriter> writer_;
    std::vector<PreparedShard> shards_;
};

/// Takes all tokens from number `first_held_out` on out of the training shards and writes them as
/// validation shards, shard after shard, so that the disk never holds more than one shard twice.
/// `train_shards` is updated.
[[nodiscard]] std::vector<PreparedShard> hold_out_tail(const std::filesystem::path& folder,
                                                       std::vector<PreparedShard>& train_shards,
                                                       std::uint64_t first_held_out, ShardInfo info,
                                                       std::uint64_t shard_tokens);

}  // namespace isoflop::data
