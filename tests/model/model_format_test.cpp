// Model files in the spelling of other programs, against published parameter counts.
#include "isoflop/model/model_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_test_support.hpp"

namespace isoflop::model {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

struct Foreign {
    std::string_view title;
    std::string_view json;
    std::int64_t parameters;
};

// Published: Llama 3 8B, 8,030,261,248; Mistral 7B, 7,241,732,096; Mixtral 8x7B, 46,702,792,704;
// Llama 3 405B, 405,853,388,800; DeepSeek-V3, 671,026,419,200; Gemma 3 1B, 999,885,952.
const Foreign kFiles[] = {
    {"params.json of Meta",
     R"({"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256,
         "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0,
         "use_scaled_rope": true})",
     8'030'261'248},
    {"params.json of Meta",
     R"({"dim": 4096, "n_layers": 32, "n_heads": 32, "vocab_size": 32000, "multiple_of": 256,
         "norm_eps": 1e-06, "max_seq_len": 2048, "max_batch_size": 4})",
     6'738'415'616},
    {"params.json of Mistral",
     R"({"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
         "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000})",
     7'241'732'096},
    {"params.json of Mistral",
     R"({"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
         "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000, "rope_theta": 1000000.0,
         "moe": {"num_experts_per_tok": 2, "num_experts": 8}})",
     46'702'792'704},
    {"model config of litgpt",
     R"({"name": "Big", "block_size": 8192, "padded_vocab_size": 128256, "vocab_size": 128000,
         "n_layer": 126, "n_head": 128, "n_embd": 16384, "n_query_groups": 8,
         "intermediate_size": 53248, "bias": false, "parallel_residual": false,
         "rotary_percentage": 1.0, "norm_class_name": "RMSNorm", "mlp_class_name": "LLaMAMLP"})",
     405'853'388'800},
    {"config of DeepSeek's inference code",
     R"({"vocab_size": 129280, "dim": 7168, "inter_dim": 18432, "moe_inter_dim": 2048,
         "n_layers": 61, "n_dense_layers": 3, "n_heads": 128, "n_routed_experts": 256,
         "n_shared_experts": 1, "n_activated_experts": 8, "n_expert_groups": 8,
         "n_limited_groups": 4, "route_scale": 2.5, "score_func": "sigmoid", "q_lora_rank": 1536,
         "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
         "dtype": "fp8"})",
     671'026'419'200},
    {"config of ModelCenter",
     R"({"dim_model": 4096, "dim_ff": 14336, "num_layers": 32, "num_heads": 32,
         "num_heads_kv": 8, "dim_head": 128, "vocab_size": 32000})",
     7'241'732'096},
    {"file of Megatron-LM's arguments",
     R"({"hidden_size": 4096, "num_layers": 32, "num_attention_heads": 32, "num_query_groups": 8,
         "group_query_attention": true, "ffn_hidden_size": 14336, "kv_channels": 128,
         "padded_vocab_size": 128256, "vocab_size": 128000, "seq_length": 8192,
         "max_position_embeddings": 131072, "swiglu": true, "normalization": "RMSNorm",
         "disable_bias_linear": true, "untie_embeddings_and_output_weights": true,
         "position_embedding_type": "rope", "norm_epsilon": 1e-5, "lr": 1e-4,
         "global_batch_size": 128, "tensor_model_parallel_size": 4})",
     8'030'261'248},
    {"Hugging Face config.json, its language model only",
     R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
         "text_config": {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
           "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
           "vocab_size": 128256}, "vision_config": {"hidden_size": 1024}})",
     8'030'261'248},
    {"",
     R"({"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912,
         "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1,
         "head_dim": 256, "vocab_size": 262144, "sliding_window": 512})",
     999'885'952},
};

TEST(ModelFormat, EveryFormatHasThePublishedParameters) {
    for (const Foreign& file : kFiles) {
        SCOPED_TRACE(file.json);
        const ModelDescription model = parse_model(std::string(file.json));
        EXPECT_EQ(model.format, file.title);
        EXPECT_EQ(totals_of(model.config).total, file.parameters);
        EXPECT_TRUE(model.warnings.empty());
    }
}

// GPT-2 as Megatron's defaults have it: plain blocks with biases, learned positions, a tied head.
TEST(ModelFormat, MegatronDefaultsAreGpt2) {
    const ModelConfig gpt2 = config_of(
        R"({"hidden_size": 768, "num_layers": 12, "num_attention_heads": 12, "seq_length": 1024,
            "max_position_embeddings": 1024, "padded_vocab_size": 50257})");
    EXPECT_EQ(totals_of(gpt2).total, 124'439'808);
}

TEST(ModelFormat, ScaledRopeOfLlama31IsRead) {
    const ModelConfig scaled = config_of(kFiles[0].json);
    ASSERT_TRUE(scaled.rope_scaling);
    EXPECT_EQ(scaled.rope_scaling->type, "llama3");
    EXPECT_EQ(scaled.rope_scaling->factor, 8);
    EXPECT_EQ(scaled.rope_theta, 500000);
}

TEST(ModelFormat, GemmaThreeHasFiveWindowLayersInSix) {
    const ModelConfig gemma = config_of(kFiles[std::size(kFiles) - 1].json);
    EXPECT_EQ(gemma.num_window_layers(), 22);
    std::int64_t windows = 0;
    for (std::int64_t layer = 0; layer < 26; ++layer) windows += gemma.is_window_layer(layer);
    EXPECT_EQ(windows, 22);
    EXPECT_FALSE(gemma.is_window_layer(5));
    EXPECT_EQ(gemma.qk_norm, QkNorm::per_head);
}

TEST(ModelFormat, SaysWhatIsLeftOut) {
    const ModelDescription llava = parse_model(std::string(kFiles[8].json));
    EXPECT_THAT(assumptions(llava),
                Contains(HasSubstr("only text_config is read; vision_config left out")));
}

TEST(ModelFormat, RefusesWhatHasNoCounterpart) {
    EXPECT_THAT(refusal_of(R"({"dim": 4096, "n_layers": 32, "n_heads": 32, "vocab_size": -1,
                               "multiple_of": 256})"),
                AllOf(HasSubstr("test.json:1:"), HasSubstr("tokenizer"), HasSubstr("32000")));
    EXPECT_THAT(refusal_of(R"({"n_embd": 64, "n_layer": 1, "n_head": 1, "vocab_size": 8,
                               "rotary_percentage": 1.0, "shared_attention_norm": true})"),
                HasSubstr("shared_attention_norm must be false"));
    EXPECT_THAT(refusal_of(R"({"dim": 64, "n_layers": 1, "n_heads": 1, "vocab_size": 8,
                               "hidden_dim": 96, "moe": {"num_experts": "8"}})"),
                AllOf(HasSubstr("moe.num_experts must be an integer"), HasSubstr("\"8\"")));
    EXPECT_THAT(refusal_of(R"({"dim": 64, "n_layers": 1, "n_heads": 1, "vocab_size": 8,
                               "colour": 1})"),
                HasSubstr("unknown key 'colour'"));
}

}  // namespace
}  // namespace isoflop::model
