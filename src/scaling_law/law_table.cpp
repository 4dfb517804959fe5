// The laws, one entry each, with their sources. To add a law, add an entry; `validate`, the config
// key `scaling_law.base` and the documentation read this table.

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {
namespace {

// Standard errors of E, alpha and beta as published (4000 bootstraps). The rest comes from our own
// bootstrap of the same fit on the same 240 runs (tests/scaling_law/bootstrap_correlation.py, 4000
// resamples, seed 1), which reproduces the published errors: A 121.9 (published 124.52), B 1286.5
// (1293.28), E .0258 (.0257), alpha .0152 (.0154), beta .0205 (.0206). Taken from it:
// - all correlations;
// - the errors of ln A and ln B relative to those of alpha and beta (16.78 and 20.44), times the
//   published errors of alpha and beta. ln A and alpha are correlated to .9993, so the error of
//   A / N^alpha is a small difference of large numbers; mixing our absolute errors with the
//   published ones, 1.6 % apart, would move the error of a loss by 11 %.
Uncertainty besiroglu_uncertainty() {
    return {.standard_error = {0.0257, 0.25839, 0.42111, 0.0154, 0.0206},
            .correlation = {{
                {1.000000, 0.586109, 0.618744, 0.580276, 0.616785},
                {0.586109, 1.000000, -0.241207, 0.999297, -0.246574},
                {0.618744, -0.241207, 1.000000, -0.251884, 0.999684},
                {0.580276, 0.999297, -0.251884, 1.000000, -0.257681},
                {0.616785, -0.246574, 0.999684, -0.257681, 1.000000},
            }},
            .source =
                "standard errors of E, alpha, beta: arXiv 2404.10102; those of ln A and ln B "
                "(scaled to match) and the correlations: our bootstrap of the same fit, 4000 "
                "resamples"};
}

std::vector<Law> make_laws() {
    std::vector<Law> table;

    table.push_back({
        .id = "hoffmann_2022",
        .title = "Hoffmann et al. 2022 (Chinchilla), approach 3, rounded constants",
        .source = "arXiv 2203.15556, eq. 10",
        .chinchilla = {.E = 1.69, .A = 406.4, .B = 410.7, .alpha = 0.34, .beta = 0.28},
        .note = "The exponents are printed to two digits, which moves the optimum: D* comes out 23 "
                "to 43 % above the paper's own Table A3 at the same compute. The only published "
                "intervals are of the exponent of N*, 0.46 (0.454, 0.455) in Table 2; no standard "
                "errors of the constants follow from them.",
    });

    table.push_back({
        .id = "hoffmann_2022_tex",
        .title = "Hoffmann et al. 2022 (Chinchilla), approach 3, constants of the TeX source",
        .source = "TeX source of arXiv 2203.15556, as quoted in the notebook of arXiv 2404.10102",
        // The fit is over e = ln E, a = ln A and b = ln B, and the source prints those.
        .chinchilla = {.E = std::exp(0.5267228),
                       .A = std::exp(6.0073404),
                       .B = std::exp(6.0179186),
                       .alpha = 0.33917084,
                       .beta = 0.2849083},
        .note = "The digits that the paper rounds away. D* is 3 to 11 % above the paper's Table A3 "
                "at the same compute.",
    });

    table.push_back({
        .id = "hoffmann_2022_sardana",
        .title = "Hoffmann et al. 2022 (Chinchilla), exponents as used by Sardana et al. 2024",
        .source = "arXiv 2401.00448 and its code repository",
        .chinchilla = {.E = 1.69, .A = 406.4, .B = 410.7, .alpha = 0.336, .beta = 0.283},
        .note = "Three-digit exponents attributed to de Vries 2023; use it to compare with the "
                "inference-aware results of Sardana et al.",
    });

    table.push_back({
        .id = "besiroglu_2024",
        .title = "Besiroglu et al. 2024, refit of Chinchilla approach 3",
        .source = "arXiv 2404.10102",
        .chinchilla = {.E = 1.8172, .A = 482.01, .B = 2085.43, .alpha = 0.3478, .beta = 0.3658},
        .uncertainty = besiroglu_uncertainty(),
        .note =
            "Refit of 240 runs read off Figure 4 of Hoffmann et al.; agrees with their approaches "
            "1 and 2 where the original approach 3 does not. The standard error covers the fit, "
            "not the difference between that corpus and yours.",
    });

    table.push_back({
        .id = "muennighoff_2023",
        .title = "Muennighoff et al. 2023, single-epoch part of the data-constrained law",
        .source = "arXiv 2305.16264 and its code repository (datablations)",
        // Fitted as a = ln A, b = ln B, e = ln E with the exponents tied.
        .chinchilla = {.E = std::exp(0.6254804),
                       .A = std::exp(6.255414),
                       .B = std::exp(7.3049974),
                       .alpha = 0.3526596,
                       .beta = 0.3526596},
        .note =
            "Valid for unique tokens: the value of repeated tokens, that paper's subject, is not "
            "modelled here. Equal exponents make D*/N* the same at every budget (19.6).",
    });

    table.push_back({
        .id = "kaplan_2020",
        .title = "Kaplan et al. 2020",
        .source = "arXiv 2001.08361, eq. 1.5 with Table 2; optimum: Table 6",
        .form = Form::kaplan,
        .counts = ParameterCount::non_embedding,
        .kaplan = {.Nc = 6.4e13,
                   .Dc = 1.8e13,
                   .alpha_N = 0.076,
                   .alpha_D = 0.103,
                   .Ne = 1.3e9,
                   .pN = 0.73},
        .note = "Historic: its optimum gives too much to parameters (Hoffmann 2022, section D.4). "
                "N excludes embeddings. Eq. 1.5 is the loss after training to the early-stopping "
                "point on D tokens, lower than a single pass over D reaches.",
    });

    return table;
}

// Least squares of ln N and ln D on ln C over the rows of published_tables.hpp. Against those rows:
// approach 1 within 1.3 % (N) and 5.1 % (D, the 67B row), approach 2 within 3.3 % and 2.6 %,
// approach 3 within 4 %.
constexpr auto kPowerLawOptima = std::to_array<PowerLawOptimum>({
    {.id = "hoffmann_2022_approach_1",
     .source = "fit to arXiv 2203.15556, Table 3",
     .n_coefficient = 0.0991589,
     .n_exponent = 0.4980987,
     .d_coefficient = 1.696084,
     .d_exponent = 0.5018543},
    {.id = "hoffmann_2022_approach_2",
     .source = "fit to arXiv 2203.15556, Table A3, approach 2",
     .n_coefficient = 0.1448771,
     .n_exponent = 0.4899416,
     .d_coefficient = 1.152764,
     .d_exponent = 0.5100202},
    {.id = "hoffmann_2022_approach_3",
     .source = "fit to arXiv 2203.15556, Table A3, approach 3 (175B row corrected to 1.26e25)",
     .n_coefficient = 0.5346221,
     .n_exponent = 0.4586574,
     .d_coefficient = 0.3153696,
     .d_exponent = 0.5409817},
});

}  // namespace

std::span<const Law> laws() {
    static const std::vector<Law> table = make_laws();
    return table;
}

const Law& law(std::string_view id) {
    std::vector<std::string_view> ids;
    for (const Law& candidate : laws()) {
        if (candidate.id == id) return candidate;
        ids.emplace_back(candidate.id);
    }
    throw ConfigError("unknown scaling law '" + std::string(id) + "'" + suggestion(id, ids) +
                      "; known laws: " + join(ids));
}

std::span<const PowerLawOptimum> power_law_optima() {
    return kPowerLawOptima;
}

}  // namespace isoflop::scaling_law
