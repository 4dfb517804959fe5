#include "isoflop/model/trainable.hpp"

#include <gtest/gtest.h>

#include "isoflop/model/model_reader.hpp"

namespace isoflop::model {
namespace {

std::string reason(const std::string& keys, std::int64_t sequence_length = 64) {
    const std::string sizes =
        R"("num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
           "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 64, )";
    return untrainable_reason(parse_model("{" + sizes + keys + "}").config, sequence_length);
}

TEST(Trainable, PresetsAndLlamasAre) {
    for (const char* preset : {"llama", "gpt2", "qwen3", "hybrid", "custom"}) {
        EXPECT_EQ(reason(R"("arch_preset": ")" + std::string(preset) + "\""), "") << preset;
    }
    EXPECT_EQ(reason(R"("model_type": "llama")"), "");
}

// These would run, and compute something else than the model they name.
TEST(Trainable, LookalikesAreNot) {
    EXPECT_EQ(reason(R"("model_type": "bloom")"), "a norm after the embedding");
    EXPECT_EQ(reason(R"("arch_preset": "llama", "partial_rotary_factor": 0.45)"),
              "rotary positions on 7 of 16 head dimensions");
    EXPECT_EQ(reason(R"("model_type": "stablelm", "num_key_value_heads": 4, "qk_layernorm": true)"),
              "QK norms with weights for every head");
    EXPECT_EQ(reason(R"("model_type": "phi", "qk_layernorm": true)"),
              "layer norms of queries and keys");
    EXPECT_EQ(reason(R"("model_type": "hunyuan_v1_dense")"), "models of type hunyuan_v1_dense");
}

TEST(Trainable, FamiliesWithOtherResidualsNormsAndPositionsAre) {
    for (const char* type :
         {"gemma",   "gemma3_text", "gpt_neox", "phi",     "phi3",     "olmo2",      "olmo3",
          "granite", "smollm3",     "cohere",   "cohere2", "stablelm", "starcoder2", "nemotron",
          "exaone4", "ernie4_5",    "seed_oss", "glm",     "glm4",     "gptj"}) {
        EXPECT_EQ(reason(R"("num_key_value_heads": 4, "model_type": ")" + std::string(type) + "\""),
                  "")
            << type;
    }
}

TEST(Trainable, OnlyRopeScalingsThatAreComputedAre) {
    const auto scaled = [](const std::string& scaling) {
        return reason(R"("model_type": "llama", "rope_scaling": )" + scaling);
    };
    EXPECT_EQ(scaled(R"({"rope_type": "linear", "factor": 2.0})"), "");
    EXPECT_EQ(scaled(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32})"),
              "");
    EXPECT_EQ(scaled(R"({"rope_type": "yarn", "factor": 4.0})"), "rope_scaling.rope_type yarn");
}

TEST(Trainable, PositionsMatterOnlyWhenShorterThanTheContext) {
    const std::string mistral =
        R"("model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 32)";
    EXPECT_EQ(reason(mistral, 32), "");
    EXPECT_EQ(reason(mistral, 33), "");
    EXPECT_EQ(reason(R"("arch_preset": "gpt2")", 64), "");
    EXPECT_NE(reason(R"("arch_preset": "gpt2")", 65).find("64 learned positions"),
              std::string::npos);
}

}  // namespace
}  // namespace isoflop::model
