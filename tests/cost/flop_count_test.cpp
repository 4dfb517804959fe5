// FLOPs against independent counts: parameters, loops over query-key pairs, published figures.
#include "isoflop/cost/flop_count.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "support/shipped_configs.hpp"

namespace isoflop::cost {
namespace {

using model::ModelConfig;
using test::NamedModel;

model::ParameterTotals totals_of(const ModelConfig& config) {
    return model::parameter_layout(config).totals();
}

Execution sequence_of(std::int64_t sequence_length) {
    Execution execution;
    execution.sequence_length = sequence_length;
    return execution;
}

std::int64_t query_key_width(const ModelConfig& config) {
    return config.mla ? config.mla->qk_nope_head_dim + config.mla->qk_rope_head_dim
                      : config.head_dim;
}

std::int64_t value_width(const ModelConfig& config) {
    return config.mla ? config.mla->v_head_dim : config.head_dim;
}

/// Keys that one query may attend to, summed over layers: L S without windows.
std::int64_t visible_keys(const ModelConfig& config, std::int64_t S) {
    std::int64_t keys = 0;
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        keys += config.is_window_layer(layer) ? std::min(*config.sliding_window, S) : S;
    }
    return keys;
}

std::uint64_t flops_named(const std::vector<MatrixProduct>& products, std::string_view name,
                          Pass pass) {
    std::uint64_t flops = 0;
    for (const MatrixProduct& product : products) {
        if (product.name == name && product.pass == pass) flops += product.flops();
    }
    return flops;
}

std::uint64_t flops_of_pass(const std::vector<MatrixProduct>& products, Pass pass) {
    std::uint64_t flops = 0;
    for (const MatrixProduct& product : products)
        flops += product.pass == pass ? product.flops() : 0;
    return flops;
}

class FlopsOfModel : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, FlopsOfModel, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

// training = 6 x matmul parameters + 6 a (d_qk + d_v) x visible keys, which is 12 L a d S without
// windows. In integers: no tolerance.
TEST_P(FlopsOfModel, ExactTrainingFlopsAreSixPerMatmulParameterPlusAttention) {
    const ModelConfig& config = GetParam().config;
    for (const std::int64_t S : {1, 37, 256, 2048, 8192}) {
        const std::int64_t attention = 6 * config.num_attention_heads *
                                       (query_key_width(config) + value_width(config)) *
                                       visible_keys(config, S);
        const std::int64_t expected = 6 * totals_of(config).matmul + attention;
        const double flops =
            training_flops_per_token(config, totals_of(config), sequence_of(S), Convention::exact);
        EXPECT_EQ(static_cast<std::int64_t>(flops), expected) << "S = " << S;
        EXPECT_EQ(flops, std::floor(flops));
    }
}

TEST_P(FlopsOfModel, ForwardFlopsScaleWithTheBatch) {
    const ModelConfig& config = GetParam().config;
    const std::uint64_t one = total_flops(forward_products(config, 1, 256, AttentionMask::full));
    EXPECT_EQ(total_flops(forward_products(config, 7, 256, AttentionMask::full)), 7 * one);
}

TEST_P(FlopsOfModel, GroupsSumToTheTotal) {
    const auto products = forward_products(GetParam().config, 2, 128, AttentionMask::causal);
    const auto groups = flops_by_group(products);
    EXPECT_EQ(std::accumulate(groups.begin(), groups.end(), std::uint64_t{0}),
              total_flops(products));
}

// Mask::causal against the definition: key <= query, and within the window where the layer has one.
TEST_P(FlopsOfModel, CausalPairsAreThoseOfTheMask) {
    const ModelConfig& config = GetParam().config;
    for (const std::int64_t S : {1, 2, 59, 60, 61, 130}) {
        std::uint64_t pairs = 0;
        for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
            const std::int64_t window = config.is_window_layer(layer) ? *config.sliding_window : S;
            for (std::int64_t query = 0; query < S; ++query) {
                for (std::int64_t key = 0; key <= query; ++key) {
                    if (query - key < window) ++pairs;
                }
            }
        }
        const auto products = forward_products(config, 3, S, AttentionMask::causal);
        const auto heads = static_cast<std::uint64_t>(config.num_attention_heads);
        EXPECT_EQ(flops_named(products, "attention.scores", Pass::forward),
                  3 * heads * pairs * 2 * static_cast<std::uint64_t>(query_key_width(config)))
            << "S = " << S;
        EXPECT_EQ(flops_named(products, "attention.values", Pass::forward),
                  3 * heads * pairs * 2 * static_cast<std::uint64_t>(value_width(config)))
            << "S = " << S;
    }
}

// Without windows the conventions differ from exact by what their definitions say, to the FLOP (all
// terms are integers below 2^53).
TEST_P(FlopsOfModel, ConventionsFollowTheirFormulas) {
    const ModelConfig& config = GetParam().config;
    const model::ParameterTotals totals = totals_of(config);
    const std::int64_t S = 32;  // shorter than every window here
    const auto flops = [&](Convention convention) {
        return training_flops_per_token(config, totals, sequence_of(S), convention);
    };
    const double attention =
        static_cast<double>(6 * config.num_hidden_layers * config.num_attention_heads *
                            (query_key_width(config) + value_width(config)) * S);
    const double router = static_cast<double>(
        6 *
        (config.moe ? config.num_moe_layers() * config.hidden_size * config.moe->num_experts : 0));
    const auto component = [&](model::Component which) {
        return totals.by_component[static_cast<std::size_t>(which)];
    };
    std::int64_t looked_up = component(model::Component::position_embedding);
    if (!config.tie_word_embeddings) looked_up += component(model::Component::token_embedding);

    EXPECT_EQ(flops(Convention::palm), 6.0 * static_cast<double>(totals.active) + attention);
    EXPECT_EQ(flops(Convention::six_nd), 6.0 * static_cast<double>(totals.active));
    EXPECT_EQ(flops(Convention::titan),
              6.0 * static_cast<double>(totals.active - looked_up) + attention);
    EXPECT_EQ(flops(Convention::kaplan),
              6.0 * static_cast<double>(totals.active_non_embedding) + attention / 2);
    EXPECT_EQ(flops(Convention::megatron), flops(Convention::exact) - attention / 2 - router);
}

// Published and recomputed in gigaflops with two decimals: half a unit of the last one.
TEST(FlopConventions, OfLlama3At8192AreThePublishedFigures) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama3_8b.jsonc")).config;
    const model::ParameterTotals totals = totals_of(config);
    const std::pair<Convention, double> published[] = {{Convention::palm, 61.07},
                                                       {Convention::titan, 57.91},
                                                       {Convention::megatron, 51.47},
                                                       {Convention::kaplan, 48.32},
                                                       {Convention::six_nd, 48.18}};
    for (const auto& [convention, gigaflops] : published) {
        EXPECT_NEAR(training_flops_per_token(config, totals, sequence_of(8192), convention) / 1e9,
                    gigaflops, 0.005)
            << to_string(convention);
    }
}

// Narayanan 2021, equation 3 without recomputation: 72 L h^2 (1 + s/6h + V/12Lh) per token for GPT
// blocks.
TEST(FlopConventions, ExactEqualsTheFormulaOfNarayananForGpt) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/gpt2_1558m.jsonc")).config;
    const auto L = static_cast<double>(config.num_hidden_layers);
    const auto h = static_cast<double>(config.hidden_size);
    const auto V = static_cast<double>(config.vocab_size);
    const double s = 1024;
    const double expected = 72 * L * h * h * (1 + s / (6 * h) + V / (12 * L * h));
    const double flops =
        training_flops_per_token(config, totals_of(config), sequence_of(1024), Convention::exact);
    EXPECT_NEAR(flops / expected, 1.0, 1e-14);  // rounding of the formula
}

// A block small enough to count by hand: L 1, H 4, a 2, g 1, d 2, F 3, V 5; batch 1, S 65, one more
// than a tile.
class TinyBlock : public ::testing::Test {
protected:
    static ModelConfig config() {
        return test::model_of(R"({"arch_preset": "llama", "num_hidden_layers": 1, "hidden_size": 4,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 3, "vocab_size": 5,
            "max_position_embeddings": 65, "tie_word_embeddings": false})");
    }
    static std::vector<MatrixProduct> executed(AttentionBackend backend, Recompute recompute) {
        Execution execution = sequence_of(65);
        execution.attention_backend = backend;
        execution.recompute = recompute;
        return executed_products(config(), execution);
    }
    // Forward: T = 65 rows; qkv 4x8, o 4x4, gate and up 4x6, down 3x4, head 4x5; 2 FLOPs a
    // multiply-add.
    static constexpr std::uint64_t kQkv = 2 * 65 * 4 * 8;
    static constexpr std::uint64_t kOut = 2 * 65 * 4 * 4;
    static constexpr std::uint64_t kGateUp = 2 * 65 * 4 * 6;
    static constexpr std::uint64_t kDown = 2 * 65 * 3 * 4;
    static constexpr std::uint64_t kHead = 2 * 65 * 4 * 5;
    static constexpr std::uint64_t kDense = kQkv + kOut + kGateUp + kDown + kHead;
    // One of scores and values: 2 heads of d 2 over all 65 x 65 pairs, or over those that tiles of
    // 64 queries visit: the first tile stops at key 64, the last query sees 65.
    static constexpr std::uint64_t kFullCore = 2 * 2 * 2 * (65 * 65);
    static constexpr std::uint64_t kCausalCore = 2 * 2 * 2 * (64 * 64 + 1 * 65);
};

TEST_F(TinyBlock, ManualAttentionMultipliesTheWholeSquare) {
    const auto products = executed(AttentionBackend::manual, Recompute::none);
    EXPECT_EQ(flops_of_pass(products, Pass::forward), kDense + 2 * kFullCore);
    EXPECT_EQ(flops_of_pass(products, Pass::backward), 2 * kDense + 4 * kFullCore);
    EXPECT_EQ(flops_of_pass(products, Pass::recompute), 0U);
}

TEST_F(TinyBlock, FusedAttentionSkipsFutureTilesAndRecomputesScoresInBackward) {
    for (const auto backend : {AttentionBackend::flash_attn_2, AttentionBackend::sdpa}) {
        const auto products = executed(backend, Recompute::none);
        EXPECT_EQ(flops_of_pass(products, Pass::forward), kDense + 2 * kCausalCore);
        // Backward: dP, dV, dQ, dK, and the scores again.
        EXPECT_EQ(flops_of_pass(products, Pass::backward), 2 * kDense + 5 * kCausalCore);
        EXPECT_EQ(flops_of_pass(products, Pass::recompute), 0U);
    }
}

TEST_F(TinyBlock, RecomputingAttentionRepeatsTheCoreOnly) {
    EXPECT_EQ(
        flops_of_pass(executed(AttentionBackend::manual, Recompute::attention), Pass::recompute),
        2 * kFullCore);
    EXPECT_EQ(flops_of_pass(executed(AttentionBackend::flash_attn_2, Recompute::attention),
                            Pass::recompute),
              2 * kCausalCore);
    EXPECT_EQ(
        flops_of_pass(executed(AttentionBackend::sdpa, Recompute::attention), Pass::recompute),
        2 * kCausalCore);
}

// The output of a pre-norm block's last product is only the next block's input, which is saved.
TEST_F(TinyBlock, RecomputingTheBlockRepeatsAllButItsLastProductAndTheHead) {
    EXPECT_EQ(flops_of_pass(executed(AttentionBackend::manual, Recompute::block), Pass::recompute),
              kQkv + kOut + kGateUp + 2 * kFullCore);
    EXPECT_EQ(
        flops_of_pass(executed(AttentionBackend::flash_attn_2, Recompute::block), Pass::recompute),
        kQkv + kOut + kGateUp + 2 * kCausalCore);
    EXPECT_EQ(flops_of_pass(executed(AttentionBackend::sdpa, Recompute::block), Pass::recompute),
              kQkv + kOut + kGateUp + 2 * kCausalCore);
}

TEST_F(TinyBlock, ElementwiseWorkIsCountedByHand) {
    const ElementwiseWork work = elementwise_work_per_token(config(), 65);
    EXPECT_EQ(work.norms, 4 * 4 * 3);     // 3 norms over H 4, 4 operations each
    EXPECT_EQ(work.rope, 3 * (4 + 2));    // 6 operations a pair over q and k
    EXPECT_EQ(work.softmax, 5 * 2 * 65);  // 2 heads, 65 keys
    EXPECT_EQ(work.activation, 5 * 3);    // silu and product
    EXPECT_EQ(work.residual, 2 * 4);
    EXPECT_EQ(work.cross_entropy, 5 * 5);
    EXPECT_EQ(work.total(), 48 + 18 + 650 + 15 + 8 + 25);
}

// Fused backends compute no fewer pairs than the mask has, and a tile more per query and key at
// most: 128 queries by 64 keys on a GPU.
TEST_P(FlopsOfModel, ExecutedAttentionLiesBetweenTheMaskAndWholeTiles) {
    const ModelConfig& config = GetParam().config;
    for (const std::int64_t S : {1, 63, 64, 65, 200}) {
        const auto ideal = flops_named(forward_products(config, 1, S, AttentionMask::causal),
                                       "attention.scores", Pass::forward);
        const auto issued = flops_named(executed_products(config, sequence_of(S)),
                                        "attention.scores", Pass::forward);
        const auto slack =
            static_cast<std::uint64_t>(2 * config.num_hidden_layers * config.num_attention_heads *
                                       query_key_width(config) * (S + 128) * 192);
        EXPECT_GE(issued, ideal) << "S = " << S;
        EXPECT_LT(issued, ideal + slack) << "S = " << S;
    }
}

TEST(Countable, IsRefusedBeforeSixtyThreeBitsOverflow) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama3_405b.jsonc")).config;
    EXPECT_TRUE(flops_are_countable(config, 2, 131072));
    EXPECT_FALSE(flops_are_countable(config, 1'000'000, 100'000'000));
    EXPECT_FALSE(flops_are_countable(config, 1, std::int64_t{1} << 40));
}

/// The count in floating point, term by term as the products are listed: no overflow here.
double executed_in_floating_point(const ModelConfig& config, const Execution& execution) {
    const auto products = forward_products(config, 1, 1, AttentionMask::full);
    double dense = 0;
    for (const auto& product : products) {
        if (product.group != FlopGroup::attention_core)
            dense += static_cast<double>(product.flops());
    }
    const auto T = static_cast<double>(execution.tokens());
    const double core = 2.0 * T * static_cast<double>(execution.sequence_length) *
                        static_cast<double>(config.num_hidden_layers * config.num_attention_heads) *
                        static_cast<double>(query_key_width(config) + value_width(config));
    return 4 * (T * dense + core);
}

// Every size that passes the guard must be counted correctly: also where a single width is at its
// limit.
TEST(Countable, CountsThatPassDoNotOverflow) {
    std::vector<NamedModel> models = test::all_models();
    NamedModel wide_ranks = test::synthetic_model("latent_attention");
    wide_ranks.name = "wide_ranks";
    wide_ranks.config.mla->q_lora_rank = model::limits::kWidth;
    wide_ranks.config.mla->kv_lora_rank = model::limits::kWidth;
    models.push_back(wide_ranks);
    NamedModel many_experts = test::synthetic_model("experts");
    many_experts.name = "many_experts";
    many_experts.config.moe->num_experts = model::limits::kExperts;
    many_experts.config.moe->num_experts_per_token = model::limits::kExperts;
    models.push_back(many_experts);
    NamedModel large_vocabulary = test::synthetic_model("multi_head");
    large_vocabulary.name = "large_vocabulary";
    large_vocabulary.config.vocab_size = model::limits::kVocabulary;
    models.push_back(large_vocabulary);
    for (const NamedModel& named : models) {
        Execution execution;
        execution.recompute = Recompute::block;
        execution.attention_backend = AttentionBackend::manual;
        std::int64_t largest = 0;
        for (std::int64_t S = 64; flops_are_countable(named.config, 1, S); S *= 2) largest = S;
        ASSERT_GE(largest, 64) << named.name;
        execution.sequence_length = largest;
        for (std::int64_t B = 1; flops_are_countable(named.config, B, largest); B *= 2) {
            execution.micro_batch_size = B;
        }
        const double counted =
            static_cast<double>(total_flops(executed_products(named.config, execution)));
        const double upper = executed_in_floating_point(named.config, execution);
        EXPECT_LT(upper, std::ldexp(1.0, 64)) << named.name;
        // Windows and the block's last product only lower the count.
        EXPECT_LE(counted, upper * (1 + 1e-12)) << named.name;
        if (!named.config.sliding_window) {
            EXPECT_GE(counted, upper * 0.3) << named.name;
        }
    }
}

}  // namespace
}  // namespace isoflop::cost
