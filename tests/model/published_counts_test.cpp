// Published parameter counts and textbook closed forms, no tolerance.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "isoflop/model/published_counts.hpp"
#include "model_test_support.hpp"

namespace isoflop::model {
namespace {

TEST(PublishedCounts, AreMetExactly) {
    EXPECT_EQ(published_counts().size(), 135U);
    for (const PublishedCount& published : published_counts()) {
        const ParameterTotals totals = totals_of(published.config);
        EXPECT_EQ(totals.total, published.total) << published.model;
        EXPECT_EQ(totals.active, published.active) << published.model;
    }
}

TEST(PublishedCounts, NameTheirSource) {
    for (const PublishedCount& published : published_counts()) {
        EXPECT_FALSE(published.source.empty()) << published.model;
    }
}

struct Size {
    std::int64_t layers, heads, hidden, vocabulary, positions;
};

constexpr Size kSizes[] = {
    {1, 1, 2, 3, 5}, {12, 12, 768, 50257, 1024}, {7, 5, 130, 999, 64}, {48, 25, 1600, 50257, 1024}};

TEST(ClosedForms, Gpt2) {
    for (const auto& [L, a, H, V, T] : kSizes) {
        const std::string json = fmt::format(
            R"({{"model_type":"gpt2","n_layer":{},"n_head":{},"n_embd":{},"vocab_size":{},)"
            R"("n_positions":{}}})",
            L, a, H, V, T);
        EXPECT_EQ(totals_of(json).total, V * H + T * H + L * (12 * H * H + 13 * H) + 2 * H) << json;
        EXPECT_EQ(totals_of(json).non_embedding, L * (12 * H * H + 13 * H) + 2 * H) << json;
        // Matrix products: the four projections of each layer, and the tied head.
        EXPECT_EQ(totals_of(json).matmul, L * 12 * H * H + V * H) << json;
    }
}

TEST(ClosedForms, GptNeox) {
    for (const auto& [L, a, H, V, T] : kSizes) {
        const std::string json = fmt::format(
            R"({{"model_type":"gpt_neox","num_hidden_layers":{},"num_attention_heads":{},)"
            R"("hidden_size":{},"vocab_size":{},"max_position_embeddings":{},"rotary_pct":1}})",
            L, a, H, V, T);
        EXPECT_EQ(totals_of(json).total, 2 * V * H + L * (12 * H * H + 13 * H) + 2 * H) << json;
    }
}

TEST(ClosedForms, Bloom) {
    for (const auto& [L, a, H, V, T] : kSizes) {
        const std::string json = fmt::format(
            R"({{"model_type":"bloom","n_layer":{},"n_head":{},"n_embed":{},"vocab_size":{},)"
            R"("seq_length":{}}})",
            L, a, H, V, T);
        EXPECT_EQ(totals_of(json).total, V * H + 2 * H + L * (12 * H * H + 13 * H) + 2 * H) << json;
    }
}

TEST(ClosedForms, Llama) {
    for (const auto& [L, a, H, V, T] : kSizes) {
        const std::int64_t F = 3 * H + 1;
        const std::string json = fmt::format(
            R"({{"hidden_size":{},"intermediate_size":{},"num_hidden_layers":{},"vocab_size":{},)"
            R"("num_attention_heads":{}}})",
            H, F, L, V, a);
        EXPECT_EQ(totals_of(json).total, 2 * V * H + L * (4 * H * H + 3 * H * F + 2 * H) + H);
    }
}

/// MosaicML's tables give one count for each context length: positions are learned.
TEST(ClosedForms, MptGrowsByHiddenSizeForEachPosition) {
    const auto count = [](std::int64_t positions) {
        return totals_of(
                   fmt::format(R"({{"model_type":"mpt","n_layers":12,"d_model":768,"n_heads":12,)"
                               R"("vocab_size":50368,"max_seq_len":{},"no_bias":false,)"
                               R"("attn_config":{{"alibi":false}}}})",
                               positions))
            .total;
    };
    EXPECT_EQ(count(2048), 125311488);
    EXPECT_EQ(count(4096) - count(2048), 2048 * 768);
}

}  // namespace
}  // namespace isoflop::model
