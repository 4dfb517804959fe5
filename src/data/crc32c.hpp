// CRC-32C (Castagnoli), the checksum of token shards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace isoflop::data {

[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace isoflop::data
