// Compute-optimal N and D in closed form, under C = 6 N D.

#include <fmt/format.h>

#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {
namespace {

constexpr double kFlopsPerParameterAndToken = 6;

struct Allocation {
    double n_params;
    double n_tokens;
};

// Hoffmann 2022, eq. 4. At the minimum along N D = C/6 the two reducible terms balance:
// alpha A / N^alpha = beta B / D^beta.
Allocation chinchilla_allocation(const ChinchillaConstants& constants, double compute_flops) {
    const double exponent_sum = constants.alpha + constants.beta;
    const double G =
        std::pow(constants.alpha * constants.A / (constants.beta * constants.B), 1 / exponent_sum);
    const double product = compute_flops / kFlopsPerParameterAndToken;  // N D
    return {.n_params = G * std::pow(product, constants.beta / exponent_sum),
            .n_tokens = std::pow(product, constants.alpha / exponent_sum) / G};
}

// Kaplan 2020, Table 6. The fit is in Cmin; at the critical batch size, large batches cost half of
// the compute (eq. 5.5), and Hoffmann 2022, section D.4 reads the law the same way: their 4.68e9
// parameters at 1e21 FLOPs follow only with this factor.
Allocation kaplan_allocation(const KaplanConstants& constants, double compute_flops) {
    const double minimum_compute_petaflop_days = compute_flops / 2 / kFlopsPerPetaflopDay;
    const double n_params = constants.Ne * std::pow(minimum_compute_petaflop_days, constants.pN);
    return {.n_params = n_params,
            .n_tokens = compute_flops / (kFlopsPerParameterAndToken * n_params)};
}

// Written so that a NaN fails too.
bool has_optimum(const Law& law) {
    if (law.form == Form::kaplan) return law.kaplan.Ne > 0 && law.kaplan.pN > 0;
    const ChinchillaConstants& constants = law.chinchilla;
    return constants.A > 0 && constants.B > 0 && constants.alpha > 0 && constants.beta > 0;
}

}  // namespace

double PowerLawOptimum::n_params(double compute_flops) const {
    return n_coefficient * std::pow(compute_flops, n_exponent);
}

double PowerLawOptimum::n_tokens(double compute_flops) const {
    return d_coefficient * std::pow(compute_flops, d_exponent);
}

Optimum compute_optimal(const Law& law, double compute_flops) {
    if (!std::isfinite(compute_flops) || !(compute_flops > 0)) {
        throw ConfigError(fmt::format(
            "scaling law '{}' needs a finite, positive compute budget in FLOPs, got {:g}", law.id,
            compute_flops));
    }
    if (!has_optimum(law)) {
        throw ConfigError("scaling law '" + law.id + "' has no compute optimum: " +
                          (law.form == Form::kaplan ? "Ne and pN" : "A, B, alpha and beta") +
                          " must be positive");
    }
    const Allocation allocation = law.form == Form::chinchilla
                                      ? chinchilla_allocation(law.chinchilla, compute_flops)
                                      : kaplan_allocation(law.kaplan, compute_flops);
    return {.n_params = allocation.n_params,
            .n_tokens = allocation.n_tokens,
            .loss = loss(law, allocation.n_params, allocation.n_tokens)};
}

}  // namespace isoflop::scaling_law
