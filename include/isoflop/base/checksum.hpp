// CRC-32C (Castagnoli; RFC 3720, appendix B.4): guards files against truncation and
// flipped bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace isoflop {

/// Continues from `previous`, the checksum of what comes before: crc32c(b, crc32c(a)) is that of a
/// followed by b. Uses the SSE4.2 instruction where the processor has it.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);
[[nodiscard]] std::uint32_t crc32c(std::string_view text, std::uint32_t previous = 0);

/// The portable implementation (eight table look-ups per word), with the same values.
[[nodiscard]] std::uint32_t crc32c_by_table(std::span<const std::byte> bytes,
                                            std::uint32_t previous = 0);
/// Whether crc32c uses the processor's instruction.
[[nodiscard]] bool has_crc32c_instruction();

/// crc32c of a followed by b, from the checksums of both and the number of bytes of b.
[[nodiscard]] std::uint32_t crc32c_of_both(std::uint32_t of_a, std::uint32_t of_b,
                                           std::uint64_t bytes_of_b);

/// Eight hexadecimal digits, the form in manifests.
[[nodiscard]] std::string checksum_text(std::uint32_t checksum);

}  // namespace isoflop
