// The bytes of the three token file formats; include/isoflop/data/token_file.hpp describes ours.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace isoflop::data::layout {

static_assert(std::endian::native == std::endian::little,
              "numbers of token files are not converted");

inline constexpr std::array<char, 8> kMagic = {'I', 'S', 'O', 'F', 'L', 'O', 'P', 'T'};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kBlockBytes = 65536;
inline constexpr std::int64_t kLargestUint16Vocabulary = 65536;

struct Header {
    std::array<char, 8> magic = kMagic;
    std::uint32_t version = kVersion;
    std::uint32_t bytes_per_token = 0;
    std::uint64_t token_count = 0;
    std::uint64_t vocab_size = 0;
    std::uint64_t tokenizer_hash = 0;
    std::uint32_t table_crc = 0;
    std::uint32_t block_bytes = kBlockBytes;
    std::uint64_t reserved1 = 0;
    std::uint32_t reserved2 = 0;
    std::uint32_t header_crc = 0;  ///< of all bytes before
};
static_assert(sizeof(Header) == 64 && std::is_trivially_copyable_v<Header>);

[[nodiscard]] inline std::span<const std::byte> checked_bytes(const Header& header) {
    return std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_crc));
}

[[nodiscard]] constexpr std::uint64_t num_blocks(std::uint64_t token_bytes) {
    return (token_bytes + kBlockBytes - 1) / kBlockBytes;
}

// llm.c: 256 int32, of which the first three are magic, version and token count.
inline constexpr std::uint32_t kLlmcHeaderBytes = 1024;
inline constexpr std::uint32_t kLlmcUint16Magic = 20240520;
inline constexpr std::uint32_t kLlmcUint16Version = 1;
inline constexpr std::uint32_t kLlmcUint32Magic = 20240801;
inline constexpr std::uint32_t kLlmcUint32Version = 7;

}  // namespace isoflop::data::layout
