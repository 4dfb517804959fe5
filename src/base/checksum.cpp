#include "isoflop/base/checksum.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace isoflop {
namespace {

constexpr std::uint32_t kReversedPolynomial = 0x82F63B78;
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// tables[k][b]: the contribution of byte b when k bytes follow it in the word.
constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t remainder = byte;
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1U) ^ ((remainder & 1U) != 0 ? kReversedPolynomial : 0U);
        }
        tables[0][byte] = remainder;
    }
    for (std::size_t k = 1; k < tables.size(); ++k) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8U) ^ tables[0][before & 0xFFU];
        }
    }
    return tables;
}

constexpr Tables kTables = make_tables();

std::uint64_t load_word(const std::byte* bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(
    std::span<const std::byte> bytes, std::uint32_t previous) {
    std::uint64_t remainder = ~previous;
    const std::byte* next = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, next += 8) remainder = _mm_crc32_u64(remainder, load_word(next));
    auto narrow = static_cast<std::uint32_t>(remainder);
    for (; left > 0; --left, ++next)
        narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*next));
    return ~narrow;
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t previous) {
    std::uint32_t remainder = ~previous;
    const std::byte* next = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, next += 8) {
        const std::uint64_t word = load_word(next) ^ remainder;
        remainder = 0;
        for (std::size_t k = 0; k < 8; ++k) remainder ^= kTables[7 - k][(word >> (8 * k)) & 0xFFU];
    }
    for (; left > 0; --left, ++next) {
        remainder =
            (remainder >> 8U) ^ kTables[0][(remainder ^ static_cast<std::uint32_t>(*next)) & 0xFFU];
    }
    return ~remainder;
}

bool has_crc32c_instruction() {
#if defined(__x86_64__)
    static const bool available = __builtin_cpu_supports("sse4.2") != 0;
    return available;
#else
    return false;
#endif
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
#if defined(__x86_64__)
    if (has_crc32c_instruction()) return crc32c_by_instruction(bytes, previous);
#endif
    return crc32c_by_table(bytes, previous);
}

std::uint32_t crc32c(std::string_view text, std::uint32_t previous) {
    return crc32c(std::as_bytes(std::span(text)), previous);
}

namespace {

/// Product of polynomials over GF(2) modulo the polynomial of the checksum; the highest bit is the
/// coefficient of x^0.
std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
    std::uint32_t product = 0;
    for (std::uint32_t bit = 1U << 31U; bit != 0; bit >>= 1U) {
        if ((a & bit) != 0) product ^= b;
        b = (b >> 1U) ^ ((b & 1U) != 0 ? kReversedPolynomial : 0U);
    }
    return product;
}

}  // namespace

std::uint32_t crc32c_of_both(std::uint32_t of_a, std::uint32_t of_b, std::uint64_t bytes_of_b) {
    std::uint32_t power = 1U << 23U;  // x^8, for one byte
    for (std::uint64_t left = bytes_of_b; left != 0; left >>= 1U) {
        if ((left & 1U) != 0) of_a = multiply(of_a, power);
        power = multiply(power, power);
    }
    return of_a ^ of_b;
}

std::string checksum_text(std::uint32_t checksum) {
    return fmt::format("{:08x}", checksum);
}

}  // namespace isoflop
