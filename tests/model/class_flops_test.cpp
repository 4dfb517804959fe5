// FLOPs against transformers: class_flops.json holds what a counter saw while the classes ran
// (written by generate_class_flops.py). The tensors of class_cases/ enter one product each.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "isoflop/cost/flop_count.hpp"
#include "model_test_support.hpp"
#include "source_dir.hpp"

namespace isoflop::cost {
namespace {

using nlohmann::json;

json read_json(const std::string& name) {
    std::ifstream file(ISOFLOP_SOURCE_DIR "/tests/model/" + name);
    return json::parse(file);
}

/// As the section of a file with several models, which leaves the defaults of its class out.
model::ModelConfig read_config(const json& keys) {
    return model::config_of(json{{"model_type", "several"}, {"text_config", keys}}.dump());
}

/// Forward FLOPs of one token, by what the counter tells apart.
struct Counts {
    std::uint64_t linear = 0;
    std::uint64_t convolution = 0;
    std::uint64_t attention = 0;  ///< of the whole sequence
    std::uint64_t indexer = 0;    ///< the same, of an indexer's scores
};

Counts count(const model::ModelConfig& config, std::int64_t length) {
    Counts counts;
    for (const MatrixProduct& product : forward_products(config, 1, length, AttentionMask::full)) {
        if (product.name == "attention.index_scores") {
            counts.indexer += product.flops();
        } else if (product.group == FlopGroup::attention_core) {
            counts.attention += product.flops();
        } else if (product.name == "recurrence.convolution") {
            counts.convolution += product.flops();
        } else if (product.name != "recurrence.state") {
            counts.linear += product.flops();
        }
    }
    counts.linear /= static_cast<std::uint64_t>(length);
    counts.convolution /= static_cast<std::uint64_t>(length);
    return counts;
}

TEST(ClassFlops, AreThoseThatTransformersExecutes) {
    const json all = read_json("class_flops.json");
    std::size_t cases = 0;
    for (const json& entry : all.at("cases")) {
        const std::string text = entry.at("config").dump();
        model::ModelConfig config = read_config(entry.at("config"));
        // The counter sees all pairs, also those that a window or an indexer discards.
        config.sliding_window.reset();
        config.index_top_k = std::numeric_limits<std::int32_t>::max();
        for (model::LayerKind& layer : config.layers) layer.window = false;
        const Counts counts = count(config, entry.at("sequence_length").get<std::int64_t>());
        EXPECT_EQ(counts.linear, entry.at("linear_flops_per_token").get<std::uint64_t>()) << text;
        EXPECT_EQ(counts.attention, entry.at("attention_flops").get<std::uint64_t>()) << text;
        EXPECT_EQ(counts.indexer, entry.value("indexer_flops", std::uint64_t{0})) << text;
        EXPECT_EQ(counts.convolution, entry.value("conv_flops_per_token", std::uint64_t{0}))
            << text;
        EXPECT_EQ(config.num_attention_layers(), entry.at("attention_layers").get<std::int64_t>())
            << text;
        ++cases;
    }
    EXPECT_GE(cases, 60U);
}

TEST(ClassFlops, AreTwoForEachActiveElementOfAMatrix) {
    for (const auto& file :
         std::filesystem::directory_iterator(ISOFLOP_SOURCE_DIR "/tests/model/class_cases")) {
        if (file.path().extension() != ".json") continue;
        const json cases = read_json("class_cases/" + file.path().filename().string());
        for (const json& entry : cases.at("cases")) {
            const model::ModelConfig config = read_config(entry.at("config"));
            std::int64_t expected = 2 * model::parameter_layout(config).totals().matmul;
            // The router of the streams runs twice.
            if (config.alternating_updates) {
                expected += 2 * config.num_hidden_layers * config.hidden_size *
                            config.alternating_updates->num_streams;
            }
            EXPECT_EQ(count(config, 4).linear, static_cast<std::uint64_t>(expected))
                << entry.at("config").dump();
        }
    }
}

TEST(ClassFlops, OfChunksAreThoseOfShortSequences) {
    model::ModelConfig config = read_config(json{
        {"model_type", "llama4_text"}, {"num_hidden_layers", 3}, {"attention_chunk_size", 64}});
    const std::uint64_t one = count(config, 64).attention;
    EXPECT_EQ(count(config, 192).attention, 3 * one);
    config.chunked_windows = false;
    EXPECT_EQ(count(config, 192).attention, 3 * one);
    const auto causal = [&](std::int64_t length) {
        std::uint64_t flops = 0;
        for (const MatrixProduct& product :
             forward_products(config, 1, length, AttentionMask::causal)) {
            if (product.group == FlopGroup::attention_core) flops += product.flops();
        }
        return flops;
    };
    const std::uint64_t sliding = causal(192);
    config.chunked_windows = true;
    EXPECT_EQ(causal(192), 3 * causal(64));
    EXPECT_GT(sliding, causal(192));
}

}  // namespace
}  // namespace isoflop::cost
