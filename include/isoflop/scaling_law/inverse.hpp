// A scaling law read the other way: the tokens with which a model reaches a loss, from the formulas
// of law.hpp solved for D.
//
//   chinchilla  D = (B / (L - E - A / N^alpha))^(1 / beta)
//   kaplan      D = Dc / (L^(1 / alpha_D) - (Nc / N)^(alpha_N / alpha_D))
#pragma once

#include <optional>

#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {

/// The loss that n_params (counted as `law.counts` says) approach with unlimited tokens:
/// E + A / N^alpha, or (Nc / N)^alpha_N.
[[nodiscard]] double loss_limit(const Law& law, double n_params);

/// The tokens D for which loss(law, n_params, D) is `target`. Nullopt where no number of tokens in
/// the range of a double reaches it.
[[nodiscard]] std::optional<double> tokens_for_loss(const Law& law, double n_params, double target);

}  // namespace isoflop::scaling_law
