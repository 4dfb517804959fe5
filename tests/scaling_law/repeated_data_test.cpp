// The value of repeated tokens, against figures published and recomputed for arXiv 2305.16264.
#include "isoflop/scaling_law/repeated_data.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace isoflop::scaling_law {
namespace {

constexpr double kUnique = 25e9;

TEST(EffectiveTokens, OfTokensThatAreNotRepeatedAreTheTokens) {
    EXPECT_EQ(effective_tokens(3e9, kUnique), 3e9);
    EXPECT_EQ(effective_tokens(kUnique, kUnique), kUnique);
    EXPECT_EQ(effective_tokens(3e9, DataSupply{}.unique_tokens), 3e9);
}

// Multiples of the unique tokens after so many epochs, to the digits given.
TEST(EffectiveTokens, OfEpochsAreThePublishedMultiples) {
    const std::pair<double, double> multiples[] = {{2, 1.968},  {4, 3.726},  {7, 5.969},
                                                   {16, 10.58}, {40, 15.17}, {100, 16.36}};
    for (const auto& [epochs, multiple] : multiples) {
        const double tolerance = multiple < 10 ? 0.0005 : 0.005;
        EXPECT_NEAR(effective_tokens(epochs * kUnique, kUnique) / kUnique, multiple, tolerance);
    }
}

TEST(EffectiveTokens, GrowWithEveryEpochAndNeverReachTheirBound) {
    double before = kUnique;
    for (double epochs = 1.5; epochs < 200; epochs *= 1.5) {
        const double effective = effective_tokens(epochs * kUnique, kUnique);
        EXPECT_GT(effective, before);
        EXPECT_LT(effective, epochs * kUnique);
        EXPECT_LT(effective, kUnique * (1 + kRepetitionScale));
        before = effective;
    }
}

TEST(TokensWorth, AreTheInverseOfEffectiveTokens) {
    for (const double epochs : {0.3, 1.0, 1.5, 4.0, 7.0, 40.0, 150.0}) {
        const double tokens = epochs * kUnique;
        const auto again = tokens_worth(effective_tokens(tokens, kUnique), kUnique);
        ASSERT_TRUE(again) << epochs;
        // The closer to the bound, the fewer digits of the tokens are in their value.
        EXPECT_NEAR(*again / tokens, 1.0, 4e-15 * std::exp(epochs / kRepetitionScale)) << epochs;
    }
    EXPECT_EQ(tokens_worth(3e9, DataSupply{}.unique_tokens), 3e9);
}

TEST(TokensWorth, AreNoneWhereNoRepetitionIsWorthSoMuch) {
    const double bound = kUnique * (1 + kRepetitionScale);
    EXPECT_TRUE(tokens_worth(bound * (1 - 1e-6), kUnique));
    EXPECT_FALSE(tokens_worth(bound, kUnique));
    EXPECT_FALSE(tokens_worth(2 * bound, kUnique));
}

TEST(TokensForLossWithRepetition, ReachTheLoss) {
    for (const Law& each : laws()) {
        const double target = loss_with_repetition(each, 1e9, 10 * kUnique, kUnique).total;
        const auto tokens = tokens_for_loss_with_repetition(each, 1e9, target, kUnique);
        ASSERT_TRUE(tokens) << each.id;
        EXPECT_NEAR(*tokens / (10 * kUnique), 1.0, 1e-10) << each.id;
        const double beyond = loss(each, 1e9, kUnique * (1.1 + kRepetitionScale)).total;
        EXPECT_FALSE(tokens_for_loss_with_repetition(each, 1e9, beyond, kUnique)) << each.id;
        EXPECT_FALSE(tokens_for_loss_with_repetition(each, 1e9, 0.1, kUnique)) << each.id;
    }
}

/// The other half of the paper's law, which the product leaves out: N' of N parameters, from the
/// parameters that are best for the unique tokens. Constants of the authors' repository.
double effective_parameters(double n_params) {
    constexpr double kExponent = 0.3526596;  // alpha = beta
    constexpr double kScale = 5.309743;
    const double G = std::pow(std::exp(6.255414) / std::exp(7.3049974), 1 / (2 * kExponent));
    const double base = std::min(n_params, kUnique * G * G);
    return base + base * kScale * (1 - std::exp(-(n_params / base - 1) / kScale));
}

double published_loss(double n_params, double n_tokens) {
    constexpr double kExponent = 0.3526596;
    return std::exp(0.6254804) +
           std::exp(6.255414) / std::pow(effective_parameters(n_params), kExponent) +
           std::exp(7.3049974) / std::pow(effective_tokens(n_tokens, kUnique), kExponent);
}

TEST(EffectiveTokens, GiveThePublishedLossesOfRepeatedData) {
    EXPECT_NEAR(published_loss(6.34e9, 242e9), 2.2256440889984477, 1e-9);
    EXPECT_NEAR(published_loss(8.67e9, 178e9), 2.2269634075087867, 1e-9);
}

TEST(LossWithRepetition, IsTheLossOfTheLawAtEffectiveTokens) {
    const Law& chosen = law("hoffmann_2022");
    EXPECT_EQ(loss_with_repetition(chosen, 1e9, 20e9, kUnique).total,
              loss(chosen, 1e9, 20e9).total);
    EXPECT_EQ(loss_with_repetition(chosen, 1e9, 4 * kUnique, kUnique).total,
              loss(chosen, 1e9, effective_tokens(4 * kUnique, kUnique)).total);
    EXPECT_GT(loss_with_repetition(chosen, 1e9, 4 * kUnique, kUnique).total,
              loss(chosen, 1e9, 4 * kUnique).total);
}

}  // namespace
}  // namespace isoflop::scaling_law
