// Sizes that belong together, and those that do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "model_test_support.hpp"

namespace isoflop::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ModelConfig small_llama() {
    ModelConfig config;
    config.num_hidden_layers = 2;
    config.hidden_size = 64;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = 16;
    config.intermediate_size = 128;
    config.vocab_size = 100;
    config.max_position_embeddings = 32;
    return config;
}

/// The complaint after a change to a good config.
std::string complaint(const std::function<void(ModelConfig&)>& change) {
    ModelConfig config = small_llama();
    change(config);
    return find_inconsistency(config);
}

TEST(FindInconsistency, AcceptsAGoodConfig) {
    EXPECT_EQ(find_inconsistency(small_llama()), "");
}

TEST(FindInconsistency, NamesTheKeyTheValueAndTheRange) {
    EXPECT_THAT(
        complaint([](ModelConfig& c) { c.num_attention_heads = 0; }),
        AllOf(HasSubstr("num_attention_heads"), HasSubstr("found 0"), HasSubstr("from 1 to")));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.num_hidden_layers = -3; }),
                AllOf(HasSubstr("num_hidden_layers"), HasSubstr("found -3")));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.num_key_value_heads = 0; }),
                HasSubstr("num_key_value_heads"));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.vocab_size = 0; }), HasSubstr("vocab_size"));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.head_dim = -1; }), HasSubstr("head_dim"));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.sliding_window = 0; }),
                HasSubstr("sliding_window"));
}

TEST(FindInconsistency, RefusesHeadsThatDoNotDivide) {
    EXPECT_THAT(complaint([](ModelConfig& c) { c.num_key_value_heads = 3; }),
                AllOf(HasSubstr("num_attention_heads"), HasSubstr("num_key_value_heads"),
                      HasSubstr("4 and 3")));
}

TEST(FindInconsistency, RotaryEncodingNeedsAnEvenHeadDim) {
    EXPECT_THAT(complaint([](ModelConfig& c) { c.head_dim = 15; }),
                AllOf(HasSubstr("head_dim"), HasSubstr("15")));
    EXPECT_EQ(complaint([](ModelConfig& c) {
                  c.head_dim = 15;
                  c.position_encoding = PositionEncoding::alibi;
              }),
              "");
}

TEST(FindInconsistency, RefusesSizesThatWouldOverflow) {
    constexpr std::int64_t kHuge = 1'000'000'000'000'000;
    const std::vector<std::function<void(ModelConfig&)>> changes = {
        [](ModelConfig& c) { c.hidden_size = kHuge; },
        [](ModelConfig& c) { c.vocab_size = kHuge; },
        [](ModelConfig& c) { c.intermediate_size = kHuge; },
        [](ModelConfig& c) { c.num_hidden_layers = kHuge; },
        [](ModelConfig& c) { c.num_attention_heads = kHuge; },
        [](ModelConfig& c) { c.max_position_embeddings = kHuge; },
        [](ModelConfig& c) { c.num_attention_heads = c.head_dim = 1 << 16; },
        [](ModelConfig& c) {  // each in range, all together too many
            c.hidden_size = c.intermediate_size = 1 << 24;
            c.num_hidden_layers = 1 << 16;
        }};
    for (const auto& change : changes) EXPECT_NE(complaint(change), "");
}

TEST(FindInconsistency, ChecksMixturesAndLatentAttention) {
    const auto with_experts = [](std::int64_t experts, std::int64_t used) {
        return complaint([=](ModelConfig& c) {
            c.moe.emplace();
            c.moe->num_experts = experts;
            c.moe->num_experts_per_token = used;
            c.moe->intermediate_size = 8;
        });
    };
    EXPECT_EQ(with_experts(8, 2), "");
    EXPECT_THAT(with_experts(8, 9), AllOf(HasSubstr("num_experts_per_tok"), HasSubstr("1 to 8")));
    EXPECT_THAT(with_experts(0, 1), HasSubstr("num_experts"));
    EXPECT_THAT(complaint([](ModelConfig& c) { c.mla.emplace(); }), HasSubstr("kv_lora_rank"));
}

TEST(ModelConfig, CountsMixtureLayersInBothConventions) {
    ModelConfig config = small_llama();
    config.num_hidden_layers = 7;
    config.moe = MixtureOfExperts{.num_experts = 4,
                                  .num_experts_per_token = 1,
                                  .intermediate_size = 8,
                                  .first_dense_layers = 1,
                                  .layer_frequency = 2,
                                  .dense_layers = {}};
    EXPECT_EQ(config.num_moe_layers(), 3);  // 2, 4, 6
    EXPECT_FALSE(config.is_moe_layer(0));
    EXPECT_TRUE(config.is_moe_layer(2));
    config.moe->layer_offset = 1;
    config.moe->dense_layers = {3};
    EXPECT_EQ(config.num_moe_layers(), 2);  // 1, 5
    EXPECT_TRUE(config.is_moe_layer(1));
    EXPECT_FALSE(config.is_moe_layer(3));
}

}  // namespace
}  // namespace isoflop::model
