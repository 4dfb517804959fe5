// Compute-optimal training runs as printed by Hoffmann et al. 2022 (arXiv 2203.15556): the
// reference for `power_law_optima()`. The figures are the paper's, with its rounding; tokens carry
// two to five digits, so 6 N D differs from C by up to 5 %.
#pragma once

#include <array>

namespace isoflop::scaling_law {

struct PublishedOptimum {
    double n_params;
    double compute_flops;
    double n_tokens;
};

/// Table 3: approach 1, the minimum over training curves of fixed model sizes. The token count of
/// the 67B row was printed 5 % above C / (6 N); the other rows agree within 1 %.
inline constexpr auto kHoffmannTable3 = std::to_array<PublishedOptimum>({
    {400e6, 1.92e19, 8.0e9},
    {1e9, 1.21e20, 20.2e9},
    {10e9, 1.23e22, 205.1e9},
    {67e9, 5.76e23, 1.5e12},
    {175e9, 3.85e24, 3.7e12},
    {280e9, 9.90e24, 5.9e12},
    {520e9, 3.43e25, 11.0e12},
    {1e12, 1.27e26, 21.2e12},
    {10e12, 1.30e28, 216.2e12},
});

/// Table A3, left half: approach 2, IsoFLOP profiles.
inline constexpr auto kHoffmannTableA3Approach2 = std::to_array<PublishedOptimum>({
    {400e6, 1.84e19, 7.7e9},
    {1e9, 1.20e20, 20.0e9},
    {10e9, 1.32e22, 219.5e9},
    {67e9, 6.88e23, 1.7e12},
    {175e9, 4.54e24, 4.3e12},
    {280e9, 1.18e25, 7.1e12},
    {520e9, 4.19e25, 13.4e12},
    {1e12, 1.59e26, 26.5e12},
    {10e12, 1.75e28, 292.0e12},
});

/// Table A3, right half: approach 3, the parametric fit. The 175B row prints 1.26e24 FLOPs, a typo
/// for 1.26e25: 6 * 175e9 * 12.0e12 = 1.26e25, and the rows around it are 1.71e24 and 3.52e25.
inline constexpr auto kHoffmannTableA3Approach3 = std::to_array<PublishedOptimum>({
    {400e6, 2.21e19, 9.2e9},
    {1e9, 1.62e20, 27.1e9},
    {10e9, 2.46e22, 410.1e9},
    {67e9, 1.71e24, 4.1e12},
    {175e9, 1.26e25, 12.0e12},
    {280e9, 3.52e25, 20.1e12},
    {520e9, 1.36e26, 43.5e12},
    {1e12, 5.65e26, 94.1e12},
    {10e12, 8.55e28, 1425.5e12},
});

/// Section D.4: what approach 1 and Kaplan et al. advise for the same budget, which the paper then
/// trained side by side. Kaplan's count is of non-embedding parameters.
struct PublishedHeadToHead {
    double compute_flops;
    double approach_1_n_params;
    double kaplan_n_params;
};
inline constexpr PublishedHeadToHead kHoffmannSectionD4{1e21, 2.86e9, 4.68e9};

}  // namespace isoflop::scaling_law
