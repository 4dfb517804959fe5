// What reaches a loss with the least compute: no neighbour is cheaper, and the data suffice.
#include "isoflop/planner/cheapest.hpp"

#include <gtest/gtest.h>

#include "isoflop/planner/shape_family.hpp"
#include "isoflop/scaling_law/inverse.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::planner {
namespace {

using test::NamedModel;

constexpr std::int64_t kSequence = 128;

/// Data that are not repeated.
scaling_law::DataSupply once(double tokens) {
    return {.unique_tokens = tokens, .allowed_tokens = tokens};
}

class CheapestOf : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, CheapestOf, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(CheapestOf, ReachesTheLossAndNoNeighbourIsCheaper) {
    for (const scaling_law::Law& law : scaling_law::laws()) {
        const ShapeFamily family = shape_family(GetParam().config, kSequence, law.counts);
        const double target = scaling_law::loss(law, family.n_params(1), 1e11).total;
        const auto cheapest = cheapest_for_loss(GetParam().config, kSequence, law, target, {});
        ASSERT_TRUE(cheapest) << law.id;
        EXPECT_FALSE(cheapest->data_limited);
        EXPECT_NEAR(scaling_law::loss(law, cheapest->n_params, cheapest->n_tokens).total, target,
                    1e-12);
        const auto compute_at = [&](double scale) {
            return family.training_flops_per_token(scale) *
                   scaling_law::tokens_for_loss(law, family.n_params(scale), target)
                       .value_or(1e300);
        };
        EXPECT_EQ(cheapest->compute_flops, compute_at(cheapest->scale));
        for (const double factor : {0.5, 0.9, 0.99, 1.01, 1.1, 2.0}) {
            EXPECT_GT(compute_at(cheapest->scale * factor), cheapest->compute_flops)
                << law.id << " " << factor;
        }
        // The architecture itself is a member of the family.
        EXPECT_LE(cheapest->compute_flops, compute_at(1) * (1 + 1e-12)) << law.id;
    }
}

// Of least loss for a compute and least compute for a loss, one is the other read backwards.
TEST_P(CheapestOf, IsTheOptimumOfItsOwnCompute) {
    const scaling_law::Law& law = scaling_law::law("hoffmann_2022");
    const ShapeFamily family = shape_family(GetParam().config, kSequence, law.counts);
    const double target = scaling_law::loss(law, family.n_params(1), 1e11).total;
    const auto cheapest = cheapest_for_loss(GetParam().config, kSequence, law, target, {});
    ASSERT_TRUE(cheapest);
    const FamilyOptimum optimum =
        family_optimum(GetParam().config, kSequence, law, cheapest->compute_flops);
    EXPECT_NEAR(optimum.continuous.loss.total, target, 1e-9);
    // Both minima are flat: the scale is known to the root of the rounding.
    EXPECT_NEAR(optimum.scale / cheapest->scale, 1.0, 1e-5);
}

TEST_P(CheapestOf, DataThatBindLeaveTheSmallestModelThatReachesTheLossWithThem) {
    const scaling_law::Law& law = scaling_law::law("hoffmann_2022");
    const ShapeFamily family = shape_family(GetParam().config, kSequence, law.counts);
    const double target = scaling_law::loss(law, family.n_params(1), 1e11).total;
    const auto free = cheapest_for_loss(GetParam().config, kSequence, law, target, {});
    ASSERT_TRUE(free);
    const double data = free->n_tokens / 2;
    const auto limited = cheapest_for_loss(GetParam().config, kSequence, law, target, once(data));
    ASSERT_TRUE(limited);
    EXPECT_TRUE(limited->data_limited);
    EXPECT_LE(limited->n_tokens, data);
    EXPECT_NEAR(limited->n_tokens / data, 1.0, 1e-6);
    EXPECT_GT(limited->scale, free->scale);
    EXPECT_GT(limited->compute_flops, free->compute_flops);
    EXPECT_NEAR(scaling_law::loss(law, limited->n_params, limited->n_tokens).total, target, 1e-12);
    // More data than the minimum needs change nothing.
    const auto rich =
        cheapest_for_loss(GetParam().config, kSequence, law, target, once(free->n_tokens * 2));
    ASSERT_TRUE(rich);
    EXPECT_FALSE(rich->data_limited);
    // The minimum is flat: the scale is known to the root of the rounding.
    EXPECT_NEAR(rich->scale / free->scale, 1.0, 1e-6);
}

TEST_P(CheapestOf, RepeatedTokensHaveTheirValue) {
    const scaling_law::Law& law = scaling_law::law("hoffmann_2022");
    const ShapeFamily family = shape_family(GetParam().config, kSequence, law.counts);
    const double target = scaling_law::loss(law, family.n_params(1), 1e11).total;
    const auto free = cheapest_for_loss(GetParam().config, kSequence, law, target, {});
    ASSERT_TRUE(free);
    const double unique = free->n_tokens / 8;
    const auto repeated =
        cheapest_for_loss(GetParam().config, kSequence, law, target,
                          {.unique_tokens = unique, .allowed_tokens = 60 * unique});
    ASSERT_TRUE(repeated);
    EXPECT_GT(repeated->n_tokens, 4 * unique);
    EXPECT_GT(repeated->compute_flops, free->compute_flops);
    EXPECT_NEAR(
        scaling_law::loss_with_repetition(law, repeated->n_params, repeated->n_tokens, unique)
            .total,
        target, 1e-12);
}

TEST(Cheapest, ThereIsNoneWhereTheDataLeaveTheLossOutOfReach) {
    const model::ModelConfig model = test::all_models().front().config;
    const scaling_law::Law& law = scaling_law::law("hoffmann_2022");
    EXPECT_FALSE(cheapest_for_loss(model, kSequence, law, 1.7, once(1e6)));
    EXPECT_FALSE(cheapest_for_loss(model, kSequence, law, 1.69, {}));
}

}  // namespace
}  // namespace isoflop::planner
