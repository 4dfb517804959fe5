// The layout beyond what transformers builds: blocks of our own, roles of tensors, order, totals.
#include "isoflop/model/parameter_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "model_test_support.hpp"

namespace isoflop::model {
namespace {

using testing::ElementsAre;

std::vector<std::string> names_of(const ModelConfig& config) {
    std::vector<std::string> names;
    parameter_layout(config).for_each(
        [&](const std::string& name, const TensorSpec&) { names.push_back(name); });
    return names;
}

TEST(ParameterLayout, ListsALlamaInModelOrder) {
    EXPECT_THAT(
        names_of(
            config_of(R"({"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 5, "d_ff": 6})")),
        ElementsAre("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                    "model.layers.0.self_attn.k_proj.weight",
                    "model.layers.0.self_attn.v_proj.weight",
                    "model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.gate_proj.weight",
                    "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight",
                    "model.layers.0.input_layernorm.weight",
                    "model.layers.0.post_attention_layernorm.weight", "model.norm.weight",
                    "lm_head.weight"));
}

TEST(ParameterLayout, Gpt2StoresInputsAsRows) {
    const ParameterLayout layout = parameter_layout(config_of(
        R"({"model_type": "gpt2", "n_layer": 3, "n_head": 2, "n_embd": 8, "vocab_size": 5,
            "n_positions": 4})"));
    ASSERT_EQ(layout.blocks.size(), 1U);
    EXPECT_EQ(layout.blocks[0].count(), 3);
    std::map<std::string_view, std::array<std::int64_t, 2>> shapes;
    for (const TensorSpec& tensor : layout.blocks[0].tensors) shapes[tensor.name] = tensor.shape;
    EXPECT_THAT(shapes.at("attn.c_attn.weight"), ElementsAre(8, 24));
    EXPECT_THAT(shapes.at("mlp.c_proj.weight"), ElementsAre(32, 8));
    EXPECT_TRUE(layout.tied_head);
    EXPECT_EQ(layout.head.size(), 2U);  // the final norm only
}

TEST(ParameterLayout, NamesAreUnique) {
    for (
        const std::string_view json :
        {R"({"arch_preset": "llama", "bias": true, "normalization": "layernorm",
              "norm_position": "sandwich", "qk_norm": true, "position_encoding": "learned_absolute"})",
         R"({"arch_preset": "gpt2", "bias": true, "normalization": "layernorm"})",
         R"({"arch_preset": "llama", "num_experts": 3, "num_experts_per_tok": 1, "n_shared_experts": 1,
              "first_k_dense_replace": 1, "mlp_bias": true})"}) {
        const auto names = names_of(config_of(json));
        EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << json;
    }
}

TEST(ParameterLayout, DecaysMatricesOnly) {
    parameter_layout(
        config_of(R"({"arch_preset": "gpt2", "bias": true, "normalization": "layernorm"})"))
        .for_each([](const std::string& name, const TensorSpec& tensor) {
            const bool vector = name.ends_with(".bias") || name.find("ln_") != std::string::npos;
            EXPECT_EQ(tensor.weight_decay(), !vector) << name;
        });
}

TEST(ParameterLayout, MixedLayersKeepTheirPlaces) {
    const ModelConfig config = config_of(
        R"({"arch_preset": "llama", "n_layer": 6, "num_experts": 2, "num_experts_per_tok": 1,
            "moe_intermediate_size": 16, "first_k_dense_replace": 1, "moe_layer_freq": 2})");
    const ParameterLayout layout = parameter_layout(config);
    ASSERT_EQ(layout.blocks.size(), 2U);
    EXPECT_FALSE(layout.blocks[0].is_moe);
    EXPECT_THAT(layout.blocks[0].layers, ElementsAre(0, 1, 3, 5));
    EXPECT_THAT(layout.blocks[1].layers, ElementsAre(2, 4));
    std::int64_t previous = -1;
    layout.for_each([&](const std::string& name, const TensorSpec&) {
        if (!name.starts_with("model.layers.")) return;
        const std::int64_t layer = std::stoll(name.substr(13));
        EXPECT_GE(layer, previous) << name;
        previous = layer;
    });
}

TEST(ParameterLayout, MatmulWeightsLeaveOutLookupsNormsAndIdleExperts) {
    // 2 layers of q, k, v, o (4 x 64) and gate, up, down (3 x 8 x 6), and the tied head (5 x 8).
    const ParameterTotals tied = totals_of(
        R"({"n_layer": 2, "n_head": 2, "n_embd": 8, "vocab_size": 5, "d_ff": 6, "bias": true,
            "tie_word_embeddings": true})");
    EXPECT_EQ(tied.matmul, 2 * (4 * 64 + 3 * 48) + 40);
    const ParameterTotals mixture = totals_of(
        R"({"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 5, "d_ff": 6, "num_experts": 7,
            "num_experts_per_tok": 2})");
    EXPECT_EQ(mixture.matmul, 4 * 64 + 7 * 8 + 2 * 3 * 48 + 40);
    EXPECT_EQ(mixture.total - mixture.active, 5 * 3 * 48);
}

TEST(ParameterLayout, QueriesWithoutRankAreProjectedDirectly) {
    const auto json = [](std::string_view rank) {
        return R"({"model_type": "deepseek_v2", "hidden_size": 16, "num_hidden_layers": 1,
                   "num_attention_heads": 2, "vocab_size": 10, "intermediate_size": 8, "kv_lora_rank": 4,
                   "qk_nope_head_dim": 6, "qk_rope_head_dim": 2, "v_head_dim": 5, "n_routed_experts": 2,
                   "num_experts_per_tok": 1, "moe_intermediate_size": 3, "q_lora_rank": )" +
               std::string(rank) + "}";
    };
    // H a (dn + dr) against H rq + rq + rq a (dn + dr)
    EXPECT_EQ(totals_of(json("null")).total - totals_of(json("4")).total,
              16 * 16 - (16 * 4 + 4 + 4 * 16));
}

}  // namespace
}  // namespace isoflop::model
