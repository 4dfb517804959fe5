// The loss of a law at (N, D), and its standard error. Called in the inner loop of searches over
// architectures, so it does not allocate, and evaluates each power once.

#include <fmt/format.h>

#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {
namespace {

bool finite_and_positive(double value) {
    return std::isfinite(value) && value > 0;
}

struct ReducibleTerms {
    double model_size;
    double data;
};

ReducibleTerms reducible_terms(const ChinchillaConstants& constants, double n_params,
                               double n_tokens) {
    return {.model_size = constants.A / std::pow(n_params, constants.alpha),
            .data = constants.B / std::pow(n_tokens, constants.beta)};
}

// E and both ln-coefficients enter linearly: dL/d ln A = A dL/dA is the model-size term itself.
ChinchillaVector gradient_of(const ReducibleTerms& terms, double n_params, double n_tokens) {
    return {1.0, terms.model_size, terms.data, -terms.model_size * std::log(n_params),
            -terms.data * std::log(n_tokens)};
}

LossTerms chinchilla_loss(const Law& law, double n_params, double n_tokens) {
    const ReducibleTerms terms = reducible_terms(law.chinchilla, n_params, n_tokens);
    LossTerms result{.irreducible = law.chinchilla.E,
                     .model_size = terms.model_size,
                     .data = terms.data,
                     .total = law.chinchilla.E + terms.model_size + terms.data};
    if (law.uncertainty) {
        result.standard_error =
            standard_error(*law.uncertainty, gradient_of(terms, n_params, n_tokens));
    }
    return result;
}

// Kaplan 2020, eq. 1.5. With one term only the bracket collapses to (Nc/N)^alpha_N (eq. 1.1) or
// (Dc/D)^alpha_D (eq. 1.2).
LossTerms kaplan_loss(const KaplanConstants& constants, double n_params, double n_tokens) {
    const double model_size = std::pow(constants.Nc / n_params, constants.alpha_N);
    const double data_ratio = constants.Dc / n_tokens;
    const double total = std::pow(
        std::pow(constants.Nc / n_params, constants.alpha_N / constants.alpha_D) + data_ratio,
        constants.alpha_D);
    return {.irreducible = 0,
            .model_size = model_size,
            .data = std::pow(data_ratio, constants.alpha_D),
            .total = total};
}

}  // namespace

LossTerms loss(const Law& law, double n_params, double n_tokens) {
    if (!finite_and_positive(n_params) || !finite_and_positive(n_tokens)) {
        throw ConfigError(
            fmt::format("scaling law '{}' needs finite, positive numbers of parameters and tokens, "
                        "got {:g} and "
                        "{:g}",
                        law.id, n_params, n_tokens));
    }
    return law.form == Form::chinchilla ? chinchilla_loss(law, n_params, n_tokens)
                                        : kaplan_loss(law.kaplan, n_params, n_tokens);
}

ChinchillaVector loss_gradient(const ChinchillaConstants& constants, double n_params,
                               double n_tokens) {
    return gradient_of(reducible_terms(constants, n_params, n_tokens), n_params, n_tokens);
}

double standard_error(const Uncertainty& uncertainty, const ChinchillaVector& gradient) {
    ChinchillaVector scaled{};
    for (std::size_t i = 0; i < scaled.size(); ++i) {
        scaled[i] = gradient[i] * uncertainty.standard_error[i];
    }
    double variance = 0;
    for (std::size_t i = 0; i < scaled.size(); ++i) {
        for (std::size_t j = 0; j < scaled.size(); ++j) {
            variance += scaled[i] * uncertainty.correlation[i][j] * scaled[j];
        }
    }
    // The terms cancel to about 1 % of their size; rounding must not turn a small variance
    // negative.
    return std::sqrt(std::fmax(variance, 0.0));
}

}  // namespace isoflop::scaling_law
