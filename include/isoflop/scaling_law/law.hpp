// Scaling laws: predicted pre-training loss of a model with N parameters after D tokens, and the N
// and D that a compute budget is best spent on.
//
// Symbols, as in the papers:
//   N      parameters; `Law::counts` says whether embeddings are among them
//   D      training tokens
//   C      training FLOPs; the closed forms below take C = 6 N D
//   Cmin   the FLOPs that are sufficient at batch sizes far below the critical one
//   L      loss, nats per token
//   E      irreducible loss: the loss for infinite N and D
//   A, B, alpha, beta                   fitted constants of the chinchilla form
//   Nc, Dc, alpha_N, alpha_D, Ne, pN    fitted constants of the kaplan form
//
// Forms:
//   chinchilla  L(N, D) = E + A / N^alpha + B / D^beta                      Hoffmann 2022, eq. 2
//   kaplan      L(N, D) = [(Nc / N)^(alpha_N / alpha_D) + Dc / D]^alpha_D   Kaplan 2020, eq. 1.5
//
// Losses of different laws are not comparable in absolute terms: each was fitted on its own corpus
// with its own tokenizer. Compare losses within one law, and optima.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/base/enum_names.hpp"

namespace isoflop::scaling_law {

enum class Form { chinchilla, kaplan };
enum class ParameterCount { total, non_embedding };

struct ChinchillaConstants {
    double E = 0;  ///< nats
    double A = 0;
    double B = 0;
    double alpha = 0;
    double beta = 0;
};

struct KaplanConstants {
    double Nc = 0;
    double Dc = 0;  ///< tokens
    double alpha_N = 0;
    double alpha_D = 0;
    double Ne = 0;  ///< compute-optimal N at Cmin = 1 PF-day
    double pN = 0;  ///< N* = Ne * Cmin^pN
};

/// One PF-day, Kaplan's unit of compute: 10^15 * 24 * 3600 FLOPs.
inline constexpr double kFlopsPerPetaflopDay = 8.64e19;

/// One value for each of (E, ln A, ln B, alpha, beta).
using ChinchillaVector = std::array<double, 5>;

/// Standard errors of (E, ln A, ln B, alpha, beta) and their correlation, where published or
/// derivable. The parameters are strongly correlated (A with alpha, B with beta), so the errors
/// alone would overstate the uncertainty of a loss many times.
struct Uncertainty {
    ChinchillaVector standard_error{};
    std::array<ChinchillaVector, 5> correlation{};
    std::string_view source;
};

struct Law {
    std::string id;      ///< "hoffmann_2022"
    std::string title;   ///< "Hoffmann et al. 2022, approach 3 (rounded constants)"
    std::string source;  ///< paper, equation or table
    Form form = Form::chinchilla;
    ParameterCount counts = ParameterCount::total;
    ChinchillaConstants chinchilla{};
    KaplanConstants kaplan{};
    std::optional<Uncertainty> uncertainty{};
    std::string note;  ///< what the user must know to interpret the numbers
};

/// The loss and its terms. For the kaplan form the two reducible terms are the loss that would
/// remain if only that term were present, and `irreducible` is 0; they do not add up to `total`.
struct LossTerms {
    double irreducible = 0;
    double model_size = 0;  ///< A / N^alpha
    double data = 0;        ///< B / D^beta
    double total = 0;
    std::optional<double> standard_error{};  ///< of `total`, one sigma, nats
};

struct Optimum {
    double n_params = 0;
    double n_tokens = 0;
    LossTerms loss;
};

/// A power law N* = n_coefficient * C^n_exponent and D* likewise, as papers tabulate them.
struct PowerLawOptimum {
    std::string_view id;  ///< "hoffmann_2022_approach_1"
    std::string_view source;
    double n_coefficient, n_exponent, d_coefficient, d_exponent;
    [[nodiscard]] double n_params(double compute_flops) const;
    [[nodiscard]] double n_tokens(double compute_flops) const;
};

/// All laws that `scaling_law.base` can name, one entry each, without "custom", which has no
/// constants.
[[nodiscard]] std::span<const Law> laws();
/// Throws ConfigError listing the laws and the nearest spelling.
[[nodiscard]] const Law& law(std::string_view id);
/// Hoffmann's approaches 1 to 3 as power laws, fitted to the paper's own tables
/// (published_tables.hpp). The paper prints the exponents to two digits and no coefficients.
[[nodiscard]] std::span<const PowerLawOptimum> power_law_optima();

/// Predicted loss; n_params counted as `law.counts` says. Throws ConfigError unless n_params and
/// n_tokens are finite and positive.
[[nodiscard]] LossTerms loss(const Law& law, double n_params, double n_tokens);

/// dL/d(E, ln A, ln B, alpha, beta) = (1, m, d, -m ln N, -d ln D), m = A / N^alpha, d = B / D^beta.
[[nodiscard]] ChinchillaVector loss_gradient(const ChinchillaConstants& constants, double n_params,
                                             double n_tokens);

/// Delta method: sqrt(g^T S g) with g = `gradient` and S the covariance of the parameters.
[[nodiscard]] double standard_error(const Uncertainty& uncertainty,
                                    const ChinchillaVector& gradient);

/// The best use of `compute_flops` in closed form, under C = 6 N D.
///   chinchilla  N* = G (C/6)^a, D* = (C/6)^(1-a) / G, with a = beta / (alpha + beta)
///               and G = (alpha A / (beta B))^(1/(alpha+beta))         (Hoffmann 2022, eq. 4)
///   kaplan      N* = Ne Cmin^pN, Cmin in PF-days (Kaplan 2020, Table 6; the exponent is eq. 1.8).
///               Training is at the critical batch size, where Cmin = C / (1 + B/Bcrit) = C / 2
///               (eq. 5.5, B the batch size); D* = C / (6 N*) counts the tokens processed there.
/// Kaplan's optimum comes from its learning-curve fit L(N, S), so it does not minimise
/// `loss(law, N, D)` along C = 6 N D; the chinchilla optimum does.
/// Throws ConfigError when `compute_flops` or a constant that must be positive is not.
[[nodiscard]] Optimum compute_optimal(const Law& law, double compute_flops);

}  // namespace isoflop::scaling_law
