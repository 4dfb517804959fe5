#include "isoflop/scaling_law/repeated_data.hpp"

#include <cmath>

#include "isoflop/scaling_law/inverse.hpp"

namespace isoflop::scaling_law {

double effective_tokens(double n_tokens, double unique_tokens) {
    if (n_tokens <= unique_tokens) return n_tokens;
    const double repetitions = n_tokens / unique_tokens - 1;
    return unique_tokens * (1 - kRepetitionScale * std::expm1(-repetitions / kRepetitionScale));
}

std::optional<double> tokens_worth(double effective, double unique_tokens) {
    if (effective <= unique_tokens) return effective;
    const double gained = (effective / unique_tokens - 1) / kRepetitionScale;
    if (!(gained < 1)) return std::nullopt;
    return unique_tokens * (1 - kRepetitionScale * std::log1p(-gained));
}

LossTerms loss_with_repetition(const Law& law, double n_params, double n_tokens,
                               double unique_tokens) {
    return loss(law, n_params, effective_tokens(n_tokens, unique_tokens));
}

std::optional<double> tokens_for_loss_with_repetition(const Law& law, double n_params,
                                                      double target, double unique_tokens) {
    const std::optional<double> effective = tokens_for_loss(law, n_params, target);
    return effective ? tokens_worth(*effective, unique_tokens) : std::nullopt;
}

}  // namespace isoflop::scaling_law
