#include "isoflop/scaling_law/inverse.hpp"

#include <cmath>

namespace isoflop::scaling_law {
namespace {

double chinchilla_tokens(const ChinchillaConstants& constants, double data_term) {
    return std::pow(constants.B / data_term, 1 / constants.beta);
}

double kaplan_tokens(const KaplanConstants& constants, double n_params, double target) {
    const double model_size =
        std::pow(constants.Nc / n_params, constants.alpha_N / constants.alpha_D);
    return constants.Dc / (std::pow(target, 1 / constants.alpha_D) - model_size);
}

}  // namespace

double loss_limit(const Law& law, double n_params) {
    if (law.form == Form::kaplan) return std::pow(law.kaplan.Nc / n_params, law.kaplan.alpha_N);
    return law.chinchilla.E + law.chinchilla.A / std::pow(n_params, law.chinchilla.alpha);
}

std::optional<double> tokens_for_loss(const Law& law, double n_params, double target) {
    const double data_term = target - loss_limit(law, n_params);
    if (!(data_term > 0)) return std::nullopt;
    const double tokens = law.form == Form::kaplan ? kaplan_tokens(law.kaplan, n_params, target)
                                                   : chinchilla_tokens(law.chinchilla, data_term);
    if (!std::isfinite(tokens) || !(tokens > 0)) return std::nullopt;
    return tokens;
}

}  // namespace isoflop::scaling_law
