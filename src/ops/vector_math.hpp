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
