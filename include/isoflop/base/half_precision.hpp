// Conversion between float and the two 16-bit formats, on bit patterns. Rounding is to nearest,
// ties to even, as every GPU and PyTorch round; widening is exact.
#pragma once

#include <bit>
#include <cstdint>

namespace isoflop {

[[nodiscard]] constexpr float bfloat16_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

/// A NaN stays a (quiet) NaN: rounding its payload could make it an infinity.
[[nodiscard]] constexpr std::uint16_t float_to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFF'FFFFU) > 0x7F80'0000U) {
        return static_cast<std::uint16_t>((bits >> 16U) | 0x0040U);
    }
    const std::uint32_t round_half_to_even = 0x7FFFU + ((bits >> 16U) & 1U);
    return static_cast<std::uint16_t>((bits + round_half_to_even) >> 16U);
}

[[nodiscard]] constexpr float float16_to_float(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
    const std::uint32_t exponent = (bits >> 10U) & 0x1FU;
    const std::uint32_t mantissa = bits & 0x3FFU;
    if (exponent == 0x1FU) return std::bit_cast<float>(sign | 0x7F80'0000U | (mantissa << 13U));
    if (exponent == 0) {
        // Zero or subnormal: mantissa * 2^-24, exact in float.
        const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (mantissa << 13U));
}

/// Values beyond 65504 (after rounding) become infinite, those below 2^-25 zero.
[[nodiscard]] constexpr std::uint16_t float_to_float16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16U) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFF'FFFFU;
    if (magnitude > 0x7F80'0000U) {
        return static_cast<std::uint16_t>(sign | 0x7E00U | ((magnitude >> 13U) & 0x3FFU));
    }
    if (magnitude >= 0x4780'0000U)
        return static_cast<std::uint16_t>(sign | 0x7C00U);  // 2^16 and up
    if (magnitude >= 0x3880'0000U) {  // normal in float16: 2^-14 and up; a carry may reach infinity
        const std::uint32_t rebased = magnitude - (112U << 23U);
        const std::uint32_t round_half_to_even = 0xFFFU + ((rebased >> 13U) & 1U);
        return static_cast<std::uint16_t>(sign | ((rebased + round_half_to_even) >> 13U));
    }
    if (magnitude < 0x3300'0000U) return static_cast<std::uint16_t>(sign);  // below 2^-25
    // Subnormal: the significand in units of 2^-24, rounded.
    const std::uint32_t exponent = magnitude >> 23U;
    const std::uint32_t significand = (magnitude & 0x7F'FFFFU) | 0x80'0000U;
    const std::uint32_t shift = 126U - exponent;  // 14 .. 24
    const std::uint32_t kept = significand >> shift;
    const std::uint32_t rest = significand & ((1U << shift) - 1U);
    const std::uint32_t half = 1U << (shift - 1U);
    const std::uint32_t up = (rest > half || (rest == half && (kept & 1U) != 0)) ? 1U : 0U;
    return static_cast<std::uint16_t>(sign | (kept + up));
}

}  // namespace isoflop
