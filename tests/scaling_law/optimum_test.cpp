#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>

#include "isoflop/base/error.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/scaling_law/published_tables.hpp"

namespace isoflop::scaling_law {
namespace {

void expect_relative(double actual, double expected, double tolerance, const char* what) {
    EXPECT_NEAR(actual, expected, tolerance * std::abs(expected)) << what;
}

const PowerLawOptimum& approach(int number) {
    return power_law_optima()[static_cast<std::size_t>(number - 1)];
}

void expect_reproduces(const PowerLawOptimum& power_law, std::span<const PublishedOptimum> rows,
                       double tolerance_n, double tolerance_d) {
    for (const PublishedOptimum& row : rows) {
        SCOPED_TRACE(testing::Message() << power_law.id << " N " << row.n_params);
        expect_relative(power_law.n_params(row.compute_flops), row.n_params, tolerance_n, "N");
        expect_relative(power_law.n_tokens(row.compute_flops), row.n_tokens, tolerance_d, "D");
    }
}

// The 67B row of Table 3 prints 1.5T tokens where C / (6 N) is 1.43T, hence 5.1 %.
TEST(PowerLawOptimum, Approach1ReproducesTable3) {
    expect_reproduces(approach(1), kHoffmannTable3, 0.013, 0.051);
}

TEST(PowerLawOptimum, Approach2ReproducesTableA3) {
    expect_reproduces(approach(2), kHoffmannTableA3Approach2, 0.04, 0.04);
}

TEST(PowerLawOptimum, Approach3ReproducesTableA3) {
    expect_reproduces(approach(3), kHoffmannTableA3Approach3, 0.04, 0.04);
}

TEST(PowerLawOptimum, ExponentsAreThePapersRounded) {
    // Table 2: a = 0.50, 0.49, 0.46, printed to two digits.
    EXPECT_NEAR(approach(1).n_exponent, 0.50, 0.005);
    EXPECT_NEAR(approach(2).n_exponent, 0.49, 0.005);
    EXPECT_NEAR(approach(3).n_exponent, 0.46, 0.005);
    for (const PowerLawOptimum& optimum : power_law_optima()) {
        EXPECT_NEAR(optimum.n_exponent + optimum.d_exponent, 1, 1e-3) << optimum.id;
    }
}

TEST(PowerLawOptimum, Approach1ReproducesHoffmannSectionD4) {
    expect_relative(approach(1).n_params(kHoffmannSectionD4.compute_flops),
                    kHoffmannSectionD4.approach_1_n_params, 0.03, "N");
}

TEST(ComputeOptimal, KaplanReproducesHoffmannSectionD4) {
    const Optimum optimum = compute_optimal(law("kaplan_2020"), kHoffmannSectionD4.compute_flops);
    expect_relative(optimum.n_params, kHoffmannSectionD4.kaplan_n_params, 0.03, "N");
}

// Table 6: D = 2e10 Cmin^0.27 tokens, one digit. With C = 2 Cmin and D = C / (6 N), our D must land
// in the interval that rounds to it.
TEST(ComputeOptimal, KaplanTokensAreThoseOfTable6) {
    for (const double minimum_compute_petaflop_days : {1e-3, 1.0, 1e3}) {
        const double flops = 2 * minimum_compute_petaflop_days * kFlopsPerPetaflopDay;
        const double coefficient = compute_optimal(law("kaplan_2020"), flops).n_tokens /
                                   std::pow(minimum_compute_petaflop_days, 0.27);
        EXPECT_GT(coefficient, 1.5e10);
        EXPECT_LT(coefficient, 2.5e10);
    }
}

TEST(ComputeOptimal, BesirogluOptima) {
    const Law& besiroglu = law("besiroglu_2024");
    // Independently computed to four digits.
    const Optimum chinchilla_budget = compute_optimal(besiroglu, 5.76e23);
    expect_relative(chinchilla_budget.n_params, 7.225e10, 1e-3, "N");
    expect_relative(chinchilla_budget.n_tokens, 1.329e12, 1e-3, "D");
    expect_relative(chinchilla_budget.n_tokens / chinchilla_budget.n_params, 18.39, 1e-3, "D/N");
    expect_relative(chinchilla_budget.loss.total, 1.9744, 1e-3, "L");
    EXPECT_TRUE(chinchilla_budget.loss.standard_error.has_value());

    const Optimum at_1e24 = compute_optimal(besiroglu, 1e24);
    expect_relative(at_1e24.n_params, 9.586e10, 1e-3, "N");
    expect_relative(at_1e24.n_tokens, 1.739e12, 1e-3, "D");
    const Optimum at_1e25 = compute_optimal(besiroglu, 1e25);
    expect_relative(at_1e25.n_params, 3.121e11, 1e-3, "N");
    expect_relative(at_1e25.n_tokens, 5.341e12, 1e-3, "D");
}

TEST(ComputeOptimal, HoffmannTexOptimum) {
    const Optimum optimum = compute_optimal(law("hoffmann_2022_tex"), 5.76e23);
    expect_relative(optimum.n_params, 4.036e10, 1e-3, "N");
    expect_relative(optimum.n_tokens, 2.379e12, 1e-3, "D");
    expect_relative(optimum.n_tokens / optimum.n_params, 58.93, 1e-3, "D/N");
    expect_relative(optimum.loss.total, 1.9184, 1e-3, "L");
}

// Sardana et al. 2024 start from a model size: the Chinchilla-optimal run of a 30B model is the one
// whose compute is best spent on 30B, which fixes D by alpha A / N^alpha = beta B / D^beta.
TEST(ComputeOptimal, Sardana30BIsTheOptimumOfItsOwnCompute) {
    const Law& sardana = law("hoffmann_2022_sardana");
    const auto& [E, A, B, alpha, beta] = sardana.chinchilla;
    constexpr double n_params = 30e9;
    const double n_tokens =
        std::pow(beta * B / (alpha * A), 1 / beta) * std::pow(n_params, alpha / beta);
    expect_relative(n_tokens, 1.556e12, 1e-3, "D");

    const double flops = 6 * n_params * n_tokens;
    expect_relative(flops, 2.801e23, 1e-3, "C");
    const Optimum optimum = compute_optimal(sardana, flops);
    expect_relative(optimum.n_params, n_params, 1e-12, "N");
    expect_relative(optimum.n_tokens, n_tokens, 1e-12, "D");
    EXPECT_NEAR(optimum.loss.total, 1.958253360475841, 1e-12);
}

struct RatioRow {
    const char* law_id;
    double at_1e21, at_576e21, at_1e25;
};

TEST(ComputeOptimal, TokensPerParameterSpreadAcrossLaws) {
    constexpr auto rows = std::to_array<RatioRow>({
        {"besiroglu_2024", 21.6, 18.4, 17.1},
        {"hoffmann_2022_tex", 33.9, 58.9, 75.5},
        {"hoffmann_2022", 50.1, 92.7, 122},
        {"muennighoff_2023", 19.6, 19.6, 19.6},
    });
    for (const RatioRow& row : rows) {
        const auto ratio = [&](double flops) {
            const Optimum optimum = compute_optimal(law(row.law_id), flops);
            return optimum.n_tokens / optimum.n_params;
        };
        // Expected values carry three digits: half a unit in the last is up to 0.41 %.
        expect_relative(ratio(1e21), row.at_1e21, 0.005, row.law_id);
        expect_relative(ratio(5.76e23), row.at_576e21, 0.005, row.law_id);
        expect_relative(ratio(1e25), row.at_1e25, 0.005, row.law_id);
    }
}

TEST(ComputeOptimal, SpendsExactlyTheBudget) {
    for (const Law& law : laws()) {
        for (double flops = 1e17; flops < 1e29; flops *= 10) {
            const Optimum optimum = compute_optimal(law, flops);
            expect_relative(6 * optimum.n_params * optimum.n_tokens, flops, 1e-12, law.id.c_str());
        }
    }
}

TEST(ComputeOptimal, IsAMinimumOfTheLossAtFixedCompute) {
    for (const Law& law : laws()) {
        if (law.form != Form::chinchilla) continue;
        for (double flops = 1e17; flops < 1e29; flops *= 10) {
            const Optimum optimum = compute_optimal(law, flops);
            for (const double factor : {0.5, 0.99, 1.01, 2.0}) {
                const double moved =
                    loss(law, optimum.n_params * factor, optimum.n_tokens / factor).total;
                EXPECT_GT(moved, optimum.loss.total) << law.id << " C " << flops << " x " << factor;
            }
        }
    }
}

TEST(ComputeOptimal, ReportsTheLossOfItsOwnAllocation) {
    for (const Law& law : laws()) {
        const Optimum optimum = compute_optimal(law, 1e21);
        EXPECT_EQ(optimum.loss.total, loss(law, optimum.n_params, optimum.n_tokens).total);
    }
}

TEST(ComputeOptimal, RejectsBudgetsAndConstantsWithoutAnOptimum) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    for (const double bad : {0.0, -1.0, std::nan(""), infinity}) {
        EXPECT_THROW(static_cast<void>(compute_optimal(law("besiroglu_2024"), bad)), ConfigError);
    }
    Law flat = law("besiroglu_2024");
    flat.chinchilla.alpha = 0;
    EXPECT_THROW(static_cast<void>(compute_optimal(flat, 1e21)), ConfigError);
    Law no_optimum = law("kaplan_2020");
    no_optimum.kaplan.Ne = 0;
    EXPECT_THROW(static_cast<void>(compute_optimal(no_optimum, 1e21)), ConfigError);
}

}  // namespace
}  // namespace isoflop::scaling_law
