// The forward analysis of an architecture.
#include "isoflop/planner/model_analysis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "isoflop/base/error.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::NamedModel;
using test::refusal;
using ::testing::HasSubstr;

class AnalysisOf : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, AnalysisOf, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(AnalysisOf, PartsAddUp) {
    const ModelAnalysis analysis = analyze_model(GetParam().config, {}, cost::kAdamW);
    const auto S = static_cast<double>(analysis.execution.sequence_length);
    EXPECT_EQ(analysis.execution.sequence_length, GetParam().config.max_position_embeddings);
    EXPECT_EQ(std::accumulate(analysis.forward_by_group.begin(), analysis.forward_by_group.end(),
                              std::uint64_t{0}),
              analysis.forward_flops_per_sequence);
    EXPECT_EQ(analysis.forward_flops_per_token * S,
              static_cast<double>(analysis.forward_flops_per_sequence));
    EXPECT_EQ(analysis.training_flops_per_token, 3 * analysis.forward_flops_per_token);
    EXPECT_EQ(analysis.training_flops_1t_tokens, 1e12 * analysis.training_flops_per_token);
    EXPECT_GT(analysis.attention_core_share(), 0);
    EXPECT_LT(analysis.attention_core_share(), 1);
    EXPECT_GT(analysis.attention_to_ffn_ratio(), 0);
}

TEST_P(AnalysisOf, ScalingGrowsWithTheSequence) {
    const ModelAnalysis analysis = analyze_model(GetParam().config, {}, cost::kAdamW);
    ASSERT_GE(analysis.scaling.size(), 2U);
    for (std::size_t i = 1; i < analysis.scaling.size(); ++i) {
        const SequencePoint& shorter = analysis.scaling[i - 1];
        const SequencePoint& longer = analysis.scaling[i];
        EXPECT_EQ(longer.sequence_length, 2 * shorter.sequence_length);
        EXPECT_GE(longer.forward_flops_per_token, shorter.forward_flops_per_token);
        EXPECT_GE(longer.attention_core_share, shorter.attention_core_share);
        EXPECT_GT(longer.fused_activation_bytes, shorter.fused_activation_bytes);
        // The stored probabilities grow with S^2, all else with S.
        EXPECT_GT(longer.manual_activation_bytes, 2 * shorter.manual_activation_bytes);
        EXPECT_GT(longer.manual_activation_bytes, longer.fused_activation_bytes);
    }
}

TEST_P(AnalysisOf, ActivationChoicesCoverEveryBackendAndRecomputation) {
    const ModelAnalysis analysis = analyze_model(GetParam().config, {}, cost::kAdamW);
    ASSERT_EQ(analysis.activation_choices.size(), 9U);
    for (const ActivationChoice& choice : analysis.activation_choices) {
        EXPECT_GT(choice.bytes, 0U);
        EXPECT_LE(choice.bytes_per_layer *
                      static_cast<std::uint64_t>(GetParam().config.num_hidden_layers),
                  choice.bytes);
    }
}

TEST(Analysis, OfTheExampleModelHasItsKnownFigures) {
    const ModelAnalysis analysis = analyze_model(
        model::read_model_file(test::source_path("configs/models/example_llama.jsonc")).config, {},
        cost::kAdamW);
    EXPECT_EQ(analysis.parameters.total, 6738415616);
    // 6 x 6,607,077,376 (untied input table and norms take no part) + 12 x 32 x 2048 x 4096
    EXPECT_EQ(analysis.training_flops_per_token, 6.0 * 6607077376 + 12.0 * 32 * 2048 * 4096);
}

TEST(Analysis, CountsTheBackendThatRuns) {
    const model::ModelConfig odd = test::synthetic_model("heads_of_80").config;
    const ModelAnalysis analysis = analyze_model(odd, {}, cost::kAdamW);
    EXPECT_TRUE(analysis.attention.fell_back());
    EXPECT_EQ(analysis.execution.attention_backend, cost::AttentionBackend::manual);
    EXPECT_NE(analysis.memory.find(cost::BufferId::attention_probabilities), nullptr);
    for (const ActivationChoice& choice : analysis.activation_choices)
        EXPECT_EQ(choice.runs, choice.attention_backend == cost::AttentionBackend::manual);
    const ModelAnalysis decided =
        analyze_model(odd, {.device = cost::DeviceKind::cpu}, cost::kAdamW,
                      recipe::AttentionResolution{recipe::AttentionChoice::automatic,
                                                  cost::AttentionBackend::sdpa, "measured"});
    EXPECT_EQ(decided.execution.attention_backend, cost::AttentionBackend::sdpa);
    EXPECT_EQ(decided.attention.reason, "measured");
}

TEST(Analysis, TakesTheSequenceLengthThatIsGiven) {
    cost::Execution execution;
    execution.sequence_length = 333;
    const ModelAnalysis analysis =
        analyze_model(test::synthetic_model("multi_head").config, execution, cost::kAdamW);
    EXPECT_EQ(analysis.execution.sequence_length, 333);
}

TEST(Analysis, RefusesWhatItCannotCount) {
    model::ModelConfig config = test::synthetic_model("multi_head").config;
    config.max_position_embeddings = 0;
    EXPECT_THAT(refusal([&] { return analyze_model(config, {}, cost::kAdamW); }),
                HasSubstr("sequence length is unknown"));
    cost::Execution execution;
    execution.sequence_length = std::int64_t{1} << 40;
    EXPECT_THAT(refusal([&] { return analyze_model(config, execution, cost::kAdamW); }),
                HasSubstr("too large to count"));
}

}  // namespace
}  // namespace isoflop::planner
