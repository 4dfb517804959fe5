// The compute-optimal model along a family of shapes.
#include "isoflop/planner/shape_family.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "isoflop/cost/flop_count.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::planner {
namespace {

using scaling_law::ParameterCount;
using test::NamedModel;

constexpr double kBudgets[] = {1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27};
constexpr std::int64_t kSequence = 128;

class OptimumOf : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, OptimumOf, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(OptimumOf, FamilyContainsTheModelItself) {
    const model::ModelConfig& config = GetParam().config;
    const model::ParameterTotals totals = model::parameter_layout(config).totals();
    const ShapeFamily family = shape_family(config, kSequence, ParameterCount::total);
    EXPECT_EQ(family.n_params(1), static_cast<double>(totals.total));
    cost::Execution execution;
    execution.sequence_length = kSequence;
    const double flops =
        cost::training_flops_per_token(config, totals, execution, cost::Convention::exact);
    EXPECT_NEAR(family.training_flops_per_token(1) / flops, 1.0, 1e-15);  // a sum of doubles
    const ShapeFamily blocks = shape_family(config, kSequence, ParameterCount::non_embedding);
    EXPECT_EQ(blocks.n_params(1), static_cast<double>(totals.non_embedding));
}

// The budget of a plan is counted by the convention of its MFU.
TEST_P(OptimumOf, FamilyCountsFlopsByEveryConvention) {
    const model::ModelConfig& config = GetParam().config;
    cost::Execution execution;
    execution.sequence_length = kSequence;
    for (const cost::Convention convention :
         {cost::Convention::exact, cost::Convention::palm, cost::Convention::megatron,
          cost::Convention::titan, cost::Convention::kaplan, cost::Convention::six_nd}) {
        SCOPED_TRACE(to_string(convention));
        const auto flops_of = [&](const model::ModelConfig& member) {
            return cost::training_flops_per_token(member, model::parameter_layout(member).totals(),
                                                  execution, convention);
        };
        const ShapeFamily family =
            shape_family(config, kSequence, ParameterCount::total, convention);
        // Sums and differences of doubles.
        EXPECT_NEAR(family.training_flops_per_token(1) / flops_of(config), 1.0, 1e-14);
        const FamilyOptimum optimum = family_optimum(
            config, kSequence, scaling_law::law("hoffmann_2022"), 1e22, {}, convention);
        EXPECT_EQ(optimum.grid.n_tokens, 1e22 / flops_of(optimum.grid_config));
        EXPECT_NEAR(optimum.continuous.n_tokens * family.training_flops_per_token(optimum.scale),
                    1e22, 1e22 * 1e-14);
    }
}

TEST_P(OptimumOf, NeighboursDifferInOneSize) {
    const model::ModelConfig& config = GetParam().config;
    const std::int64_t own = model::parameter_layout(config).totals().total;
    const std::vector<model::ModelConfig> members = neighbours(config);
    EXPECT_GE(members.size(), 4U);
    for (const model::ModelConfig& member : members) {
        EXPECT_TRUE(member.num_hidden_layers == config.num_hidden_layers ||
                    (member.num_attention_heads == config.num_attention_heads &&
                     member.intermediate_size == config.intermediate_size));
        if (!model::find_inconsistency(member).empty()) continue;
        EXPECT_NE(model::parameter_layout(member).totals().total, own);
    }
}

TEST_P(OptimumOf, NoNeighbouringScaleHasALowerLoss) {
    for (const scaling_law::Law& law : scaling_law::laws()) {
        const ShapeFamily family = shape_family(GetParam().config, kSequence, law.counts);
        for (const double compute : kBudgets) {
            const FamilyOptimum optimum =
                family_optimum(GetParam().config, kSequence, law, compute);
            const auto loss_at = [&](double scale) {
                return scaling_law::loss(law, family.n_params(scale),
                                         compute / family.training_flops_per_token(scale))
                    .total;
            };
            for (const double factor : {0.5, 0.9, 0.999, 1.001, 1.1, 2.0}) {
                // The loss is flat at its minimum: 1e-12 is its rounding.
                EXPECT_GE(loss_at(optimum.scale * factor), optimum.continuous.loss.total - 1e-12)
                    << law.id << " " << compute << " " << factor;
            }
            // The budget is spent.
            EXPECT_NEAR(optimum.continuous.n_tokens *
                            family.training_flops_per_token(optimum.scale) / compute,
                        1.0, 1e-14);
        }
    }
}

TEST_P(OptimumOf, RealArchitectureIsConsistentAndEvaluatedExactly) {
    for (const scaling_law::Law& law : scaling_law::laws()) {
        for (const double compute : kBudgets) {
            const FamilyOptimum optimum =
                family_optimum(GetParam().config, kSequence, law, compute);
            const model::ModelConfig& member = optimum.grid_config;
            ASSERT_EQ(model::find_inconsistency(member), "") << law.id << " " << compute;
            const model::ParameterTotals totals = model::parameter_layout(member).totals();
            const auto counted =
                law.counts == ParameterCount::total ? totals.total : totals.non_embedding;
            EXPECT_EQ(optimum.grid.n_params, static_cast<double>(counted));
            cost::Execution execution;
            execution.sequence_length = kSequence;
            const double flops =
                cost::training_flops_per_token(member, totals, execution, cost::Convention::exact);
            EXPECT_EQ(optimum.grid_training_flops_per_token, flops);
            EXPECT_EQ(optimum.grid.n_tokens, compute / flops);
            EXPECT_EQ(optimum.grid.loss.total,
                      scaling_law::loss(law, optimum.grid.n_params, optimum.grid.n_tokens).total);
            EXPECT_EQ(member.head_dim, GetParam().config.head_dim);
            EXPECT_EQ(member.vocab_size, GetParam().config.vocab_size);
            // Few heads do not divide into the given groups; one for each head, or one for all of
            // them, stays.
            EXPECT_EQ(member.num_attention_heads % member.num_key_value_heads, 0);
            if (GetParam().config.num_key_value_heads == GetParam().config.num_attention_heads) {
                EXPECT_EQ(member.num_key_value_heads, member.num_attention_heads);
            }
        }
    }
}

// Rounding to whole layers and heads costs little once there are several of each.
TEST(RealArchitecture, LosesLittleAgainstTheContinuousOptimum) {
    const model::ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama3_8b.jsonc")).config;
    for (const double compute : {1e21, 1e22, 1e23, 1e24, 1e25}) {
        const FamilyOptimum optimum =
            family_optimum(config, 8192, scaling_law::law("hoffmann_2022"), compute);
        EXPECT_NEAR(optimum.grid.loss.total, optimum.continuous.loss.total, 2e-3) << compute;
    }
}

// 16 heads for each key/value head: to keep that, the width could only be 2048 or more.
TEST(RealArchitecture, LosesLittleFarBelowTheGivenOne) {
    const model::ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama3_405b.jsonc")).config;
    const FamilyOptimum optimum =
        family_optimum(config, 2048, scaling_law::law("hoffmann_2022"), 1.37e18);
    EXPECT_LT(optimum.grid.n_params, 1.5 * optimum.continuous.n_params);
    EXPECT_NEAR(optimum.grid.loss.total, optimum.continuous.loss.total, 0.03);
}

// If FLOPs per token were 6 N, the numeric optimum would be the closed form. A wide model without
// vocabulary and with a short context comes close: the rest is its attention and embeddings.
TEST(FamilyOptimum, ApproachesTheClosedFormWhere6nHolds) {
    const model::ModelConfig config =
        test::model_of(R"({"arch_preset": "llama", "num_hidden_layers": 32,
        "hidden_size": 8192, "num_attention_heads": 64, "intermediate_size": 28672, "vocab_size": 2,
        "max_position_embeddings": 16, "tie_word_embeddings": true})");
    const scaling_law::Law& law = scaling_law::law("besiroglu_2024");
    for (const double compute : {1e24, 1e25, 1e26}) {
        const auto closed = scaling_law::compute_optimal(law, compute);
        const FamilyOptimum optimum = family_optimum(config, 1, law, compute);
        EXPECT_NEAR(optimum.continuous.n_params / closed.n_params, 1.0, 0.002);
        EXPECT_NEAR(optimum.continuous.loss.total, closed.loss.total, 1e-5);
    }
}

TEST(FamilyOptimum, LargerBudgetsWantLargerModelsAndMoreTokens) {
    const model::ModelConfig config =
        model::read_model_file(test::source_path("configs/models/deepseek_v3.jsonc")).config;
    double n = 0, d = 0;
    for (const double compute : kBudgets) {
        const FamilyOptimum optimum =
            family_optimum(config, 4096, scaling_law::law("hoffmann_2022"), compute);
        EXPECT_GT(optimum.continuous.n_params, n);
        EXPECT_GT(optimum.continuous.n_tokens, d);
        n = optimum.continuous.n_params;
        d = optimum.continuous.n_tokens;
    }
}

}  // namespace
}  // namespace isoflop::planner
