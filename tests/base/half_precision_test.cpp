#include "isoflop/base/half_precision.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace isoflop {
namespace {

/// Of the two neighbours around `value` the rounded one must be the nearer, on a tie the even one.
template <class Widen>
void expect_nearest(float value, std::uint16_t rounded, Widen widen, float infinity_stands_for) {
    const auto finite = [&](std::uint16_t bits) {
        const float wide = widen(bits);
        return std::isinf(wide) ? std::copysign(static_cast<double>(infinity_stands_for),
                                                static_cast<double>(wide))
                                : static_cast<double>(wide);
    };
    const double distance = std::abs(finite(rounded) - static_cast<double>(value));
    const auto magnitude = static_cast<std::uint16_t>(rounded & 0x7FFFU);
    for (const int step : {-1, 1}) {
        const int neighbour = magnitude + step;
        if (neighbour < 0 || std::isnan(widen(static_cast<std::uint16_t>(neighbour)))) continue;
        const auto bits =
            static_cast<std::uint16_t>((rounded & 0x8000U) | static_cast<unsigned>(neighbour));
        const double other = std::abs(finite(bits) - static_cast<double>(value));
        ASSERT_LE(distance, other) << value;
        if (distance == other) {
            ASSERT_EQ(rounded & 1U, 0U) << value;
        }
    }
}

/// Signs, exponents and mantissas of all kinds, halves and their neighbours more often than chance
/// has them.
float any_float(std::mt19937& generator, std::uint32_t dropped_bits) {
    std::uint32_t bits = static_cast<std::uint32_t>(generator());
    const std::uint32_t mask = (1U << dropped_bits) - 1U;
    switch (generator() % 4) {
        case 0: bits = (bits & ~mask) | (1U << (dropped_bits - 1U)); break;
        case 1: bits = (bits & ~mask) | ((1U << (dropped_bits - 1U)) + 1U); break;
        case 2: bits = (bits & ~mask) | ((1U << (dropped_bits - 1U)) - 1U); break;
        default: break;
    }
    return std::bit_cast<float>(bits);
}

TEST(HalfPrecision, EveryBfloat16SurvivesTheRoundTrip) {
    for (std::uint32_t bits = 0; bits <= 0xFFFFU; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float wide = bfloat16_to_float(half);
        if (std::isnan(wide)) {
            EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(wide))));
        } else {
            ASSERT_EQ(float_to_bfloat16(wide), half);
        }
    }
}

TEST(HalfPrecision, EveryFloat16SurvivesTheRoundTrip) {
    for (std::uint32_t bits = 0; bits <= 0xFFFFU; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float wide = float16_to_float(half);
        if (std::isnan(wide)) {
            EXPECT_TRUE(std::isnan(float16_to_float(float_to_float16(wide))));
        } else {
            ASSERT_EQ(float_to_float16(wide), half);
        }
    }
}

TEST(HalfPrecision, Bfloat16RoundsToNearestEven) {
    std::mt19937 generator(1);
    for (int i = 0; i < 400000; ++i) {
        const float value = any_float(generator, 16);
        if (std::isnan(value) || std::isinf(value)) continue;
        // Infinity stands for the next power of two, which does not fit a float.
        if (std::abs(value) > 3.38e38F) continue;
        expect_nearest(value, float_to_bfloat16(value), bfloat16_to_float,
                       std::numeric_limits<float>::max());
    }
    EXPECT_EQ(float_to_bfloat16(1.0F + 0x1.0p-8F), 0x3F80);  // tie to even, down
    EXPECT_EQ(float_to_bfloat16(1.0F + 0x3.0p-8F), 0x3F82);  // tie to even, up
    EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7F80);
}

TEST(HalfPrecision, Float16RoundsToNearestEven) {
    std::mt19937 generator(2);
    std::uniform_int_distribution<std::uint32_t> exponents(95,
                                                           145);  // around what float16 can hold
    for (int i = 0; i < 400000; ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(any_float(generator, 13));
        const float value =
            std::bit_cast<float>((bits & 0x807F'FFFFU) | (exponents(generator) << 23U));
        const std::uint16_t half = float_to_float16(value);
        if (std::abs(value) >= 65536.0F) {
            ASSERT_TRUE(std::isinf(float16_to_float(half)));
        } else {
            expect_nearest(value, half, float16_to_float, 65536.0F);
        }
    }
    EXPECT_EQ(float_to_float16(65504.0F), 0x7BFF);
    EXPECT_EQ(float_to_float16(65519.99F), 0x7BFF);
    EXPECT_EQ(float_to_float16(65520.0F), 0x7C00);
    EXPECT_EQ(float_to_float16(0x1.0p-25F), 0x0000);  // tie between 0 and 2^-24
    EXPECT_EQ(float_to_float16(0x1.8p-24F), 0x0002);  // tie, to even
    EXPECT_EQ(float_to_float16(-0.0F), 0x8000);
}

TEST(HalfPrecision, NanAndInfinityStayWhatTheyAre) {
    // The payload sits in bits that rounding would drop.
    const float nan = std::bit_cast<float>(0x7F80'0001U);
    EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(nan))));
    EXPECT_TRUE(std::isnan(float16_to_float(float_to_float16(nan))));
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(bfloat16_to_float(float_to_bfloat16(-infinity)), -infinity);
    EXPECT_EQ(float16_to_float(float_to_float16(infinity)), infinity);
}

}  // namespace
}  // namespace isoflop
