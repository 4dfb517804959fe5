// The value of repeated tokens: Muennighoff 2023 (arXiv 2305.16264), equation 5, of which only the
// data part is used, with any law:
//
//   D' = U + U R* (1 - exp(-R / R*))        R = D / U - 1, R* = 15.387756
//
//   U   unique tokens
//   D   tokens trained on, repetitions counted
//   D'  effective tokens: new tokens that would be worth as much
//
// The fit has no term for overfitting. In the 229 runs of its authors the measured losses are
// higher than it predicts, most of all beyond 20 epochs: what it gives is a lower bound.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>

#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {

/// R*: repetitions after which 1 - 1/e of what repetition can bring has been gained.
inline constexpr double kRepetitionScale = 15.387756;
/// Beyond so many epochs the measured losses are far above those of the formula.
inline constexpr double kMostCreditableEpochs = 20;

/// The tokens that a run may use; infinite where nothing limits them.
struct DataSupply {
    double unique_tokens = std::numeric_limits<double>::infinity();
    double allowed_tokens = std::numeric_limits<double>::infinity();  ///< repetitions included

    [[nodiscard]] double usable(double n_tokens) const {
        return std::min(n_tokens, allowed_tokens);
    }
};

/// D' of n_tokens tokens drawn from unique_tokens; n_tokens itself when none is repeated.
[[nodiscard]] double effective_tokens(double n_tokens, double unique_tokens);

/// The inverse: the tokens D, repetitions counted, of which D' are `effective`. Nullopt where no
/// number of epochs is worth so much: D' stays below U (1 + R*).
[[nodiscard]] std::optional<double> tokens_worth(double effective, double unique_tokens);

/// The loss of a law at D' instead of D.
[[nodiscard]] LossTerms loss_with_repetition(const Law& law, double n_params, double n_tokens,
                                             double unique_tokens);

/// The tokens D for which loss_with_repetition(law, n_params, D, unique_tokens) is `target`.
/// Nullopt where no number of tokens reaches it.
[[nodiscard]] std::optional<double> tokens_for_loss_with_repetition(const Law& law, double n_params,
                                                                    double target,
                                                                    double unique_tokens);

}  // namespace isoflop::scaling_law
