// Elementary functions in a form that compilers vectorise: no branches, no tables, no errno. The
// fp32 ones are polynomials; the double ones, which only tests use, are the standard library's.
// To be called inside run_vectorized (vectorize.hpp).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace isoflop::ops {

/// e^x within 1.5 units in the last place, with gradual underflow; +-infinity and NaN as std::exp.
///
/// x = n ln 2 + r with |r| <= ln(2) / 2, e^x = 2^n e^r (Cody & Waite 1980). ln 2 is split in two so
/// that n times the first part is exact; the polynomial for e^r is that of Cephes' expf.
[[gnu::always_inline]] inline float exponential(float x) {
    constexpr float kLog2E = 1.44269504F;
    constexpr float kLn2High = 0.693359375F;
    constexpr float kLn2Low = -2.12194440e-4F;
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the significand.
    constexpr float kRound = 12582912.0F;
    constexpr std::int32_t kRoundBits = 0x4B400000;

    // Outside these bounds the result is 0 or infinity anyway. Comparisons leave NaN alone.
    x = x < -104.0F ? -104.0F : x;
    x = x > 89.0F ? 89.0F : x;
    const float rounded = x * kLog2E + kRound;
    const std::int32_t n = std::bit_cast<std::int32_t>(rounded) - kRoundBits;
    const float whole = rounded - kRound;
    float r = x - whole * kLn2High;
    r = r - whole * kLn2Low;

    float series = 1.9875691500e-4F;
    series = series * r + 1.3981999507e-3F;
    series = series * r + 8.3334519073e-3F;
    series = series * r + 4.1665795894e-2F;
    series = series * r + 1.6666665459e-1F;
    series = series * r + 5.0000001201e-1F;
    const float exp_r = 1.0F + (r + r * r * series);

    // 2^n as a product of two, because n = 128 and n < -126 have no float of their own.
    const std::int32_t half = n >> 1;
    const float scale_a = std::bit_cast<float>((half + 127) << 23);
    const float scale_b = std::bit_cast<float>((n - half + 127) << 23);
    return exp_r * scale_a * scale_b;
}
[[gnu::always_inline]] inline double exponential(double x) {
    return std::exp(x);
}

/// ln x for positive normal x, within 2 units in the last place.
///
/// x = 2^n m with m in [sqrt(1/2), sqrt 2); the polynomial for ln(1 + f), f = m - 1, is that of
/// Cephes' logf.
[[gnu::always_inline]] inline float logarithm(float x) {
    constexpr std::int32_t kSqrtHalfBits = 0x3F3504F3;
    constexpr std::int32_t kOneBits = 0x3F800000;
    constexpr float kLn2High = 0.693359375F;
    constexpr float kLn2Low = -2.12194440e-4F;
    const std::int32_t offset = std::bit_cast<std::int32_t>(x) - kSqrtHalfBits;
    const std::int32_t n = offset >> 23;
    const float f = std::bit_cast<float>((offset & 0x007FFFFF) + kSqrtHalfBits) -
                    std::bit_cast<float>(kOneBits);

    float series = 7.0376836292e-2F;
    series = series * f - 1.1514610310e-1F;
    series = series * f + 1.1676998740e-1F;
    series = series * f - 1.2420140846e-1F;
    series = series * f + 1.4249322787e-1F;
    series = series * f - 1.6668057665e-1F;
    series = series * f + 2.0000714765e-1F;
    series = series * f - 2.4999993993e-1F;
    series = series * f + 3.3333331174e-1F;
    const float whole = static_cast<float>(n);
    const float square = f * f;
    const float log_m = f * square * series + whole * kLn2Low - 0.5F * square + f;
    return log_m + whole * kLn2High;
}
[[gnu::always_inline]] inline double logarithm(double x) {
    return std::log(x);
}

/// In (0, 1], from 32 random bits; 0 is left out for logarithms.
template <class T>
[[gnu::always_inline]] inline T positive_unit(std::uint32_t bits) {
    // Through the signed type: that conversion has an instruction everywhere.
    const T centred = static_cast<T>(static_cast<std::int32_t>(bits ^ 0x80000000U));
    const T shifted = T(0.5) + T(0x1.0p-33) + centred * T(0x1.0p-32);
    return shifted < T(0x1.0p-33) ? T(0x1.0p-33) : shifted;
}

template <class T>
struct SineCosine {
    T sine;
    T cosine;
};

/// Sine and cosine of 2 pi bits / 2^32. The top bits count eighths of a turn, so that no reduction
/// rounds; polynomials of Cephes' sinf and cosf on an eighth of a turn to either side.
template <class T>
[[gnu::always_inline]] inline SineCosine<T> sine_cosine_of_turn(std::uint32_t bits);

template <>
[[gnu::always_inline]] inline SineCosine<float> sine_cosine_of_turn<float>(std::uint32_t bits) {
    constexpr float kRadians = 1.46291807927e-9F;  // 2 pi / 2^32
    const std::uint32_t quadrant = (bits + 0x20000000U) >> 30U;
    const float r =
        static_cast<float>(static_cast<std::int32_t>(bits - (quadrant << 30U))) * kRadians;
    const float square = r * r;
    float sine = -1.9515295891e-4F;
    sine = sine * square + 8.3321608736e-3F;
    sine = sine * square - 1.6666654611e-1F;
    sine = sine * square * r + r;
    float cosine = 2.443315711809948e-5F;
    cosine = cosine * square - 1.388731625493765e-3F;
    cosine = cosine * square + 4.166664568298827e-2F;
    cosine = cosine * square * square - 0.5F * square + 1.0F;

    const bool odd = (quadrant & 1U) != 0;
    const float a = odd ? cosine : sine;
    const float b = odd ? sine : cosine;
    return {(quadrant & 2U) != 0 ? -a : a, ((quadrant + 1U) & 2U) != 0 ? -b : b};
}
template <>
[[gnu::always_inline]] inline SineCosine<double> sine_cosine_of_turn<double>(std::uint32_t bits) {
    constexpr double kRadians = 1.4629180792671596e-9;  // 2 pi / 2^32
    const double angle = static_cast<double>(bits) * kRadians;
    return {std::sin(angle), std::cos(angle)};
}

/// 1 / (1 + e^-x)
template <class T>
[[gnu::always_inline]] inline T sigmoid(T x) {
    return T(1) / (T(1) + exponential(-x));
}

/// The standard normal distribution at x: what GELU and its derivative are made of.
template <class T>
struct NormalDistribution {
    T cumulative;  ///< (1 + erf(x / sqrt 2)) / 2
    T density;     ///< exp(-x^2 / 2) / sqrt(2 pi)
};

/// With z = |x| / sqrt 2, erfc(z) = exp(-z^2) erfcx(z), and erfcx is smooth in t = 1 / (1 + 0.3 z):
/// erfcx = t P(2t - 1). P interpolates at Chebyshev nodes; its relative error is 2.5e-8 for
/// z <= 10.3, beyond which exp(-z^2) is 0. One exponential thus serves both members, and the left
/// tail keeps its relative accuracy, which 1 + erf would lose.
[[gnu::always_inline]] inline NormalDistribution<float> normal_distribution(float x) {
    constexpr float kSqrtHalf = 0.707106781F;
    constexpr float kInverseSqrt2Pi = 0.398942280F;
    const float z = std::fabs(x) * kSqrtHalf;
    const float t = 1.0F / (1.0F + 0.3F * z);
    const float u = 2.0F * t - 1.0F;
    float p = -5.112316900e-4F;
    p = p * u - 2.427723105e-4F;
    p = p * u + 4.378706349e-3F;
    p = p * u + 2.041563317e-2F;
    p = p * u + 5.695775851e-2F;
    p = p * u + 1.187171275e-1F;
    p = p * u + 1.987812241e-1F;
    p = p * u + 2.765236102e-1F;
    p = p * u + 3.249799226e-1F;
    const float gaussian = exponential(-0.5F * x * x);
    const float tail = 0.5F * gaussian * t * p;
    return {x < 0.0F ? tail : 1.0F - tail, kInverseSqrt2Pi * gaussian};
}
[[gnu::always_inline]] inline NormalDistribution<double> normal_distribution(double x) {
    constexpr double kSqrtHalf = 0.70710678118654752440;
    constexpr double kInverseSqrt2Pi = 0.39894228040143267794;
    return {0.5 * std::erfc(-x * kSqrtHalf), kInverseSqrt2Pi * std::exp(-0.5 * x * x)};
}

}  // namespace isoflop::ops
