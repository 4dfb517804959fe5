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

// Counts of transformers 4.57: the sections hold what differs from the defaults of their class.
TEST(ModelFormat, SectionsAreFilledWithTheDefaultsOfTheirClass) {
    const ModelDescription gemma = parse_model(
        R"({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
            "mm_tokens_per_image": 256, "text_config": {"hidden_size": 2560,
              "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
              "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
            "vision_config": {"hidden_size": 1152}})");
    EXPECT_EQ(totals_of(gemma.config).total, 3'880'263'168);
    EXPECT_THAT(assumptions(gemma),
                Contains(AllOf(HasSubstr("gemma3_text"), HasSubstr("num_attention_heads 8"),
                               HasSubstr("vocab_size 262208"))));
    const ModelDescription llava = parse_model(
        R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
            "tie_word_embeddings": false, "text_config": {"architectures": ["LlamaForCausalLM"],
              "max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05,
              "torch_dtype": "float16", "vocab_size": 32064}, "vision_config": {}})");
    EXPECT_EQ(totals_of(llava.config).total, 6'738'939'904);
    EXPECT_THAT(assumptions(llava), Contains(HasSubstr("intermediate_size 11008")));
    // A whole file lacks nothing; a size that is missing there is a mistake.
    EXPECT_THAT(refusal_of(R"({"model_type": "llama", "hidden_size": 64})"),
                HasSubstr("num_hidden_layers"));
}

TEST(ModelFormat, SectionsAreReadAlsoBesideSizesOfTheWholeModel) {
    const ModelDescription model = parse_model(
        R"({"model_type": "paligemma", "hidden_size": 2048, "vocab_size": 257152,
            "projection_dim": 2048, "text_config": {"model_type": "gemma", "hidden_size": 2048,
              "intermediate_size": 16384, "num_attention_heads": 8, "num_hidden_layers": 18,
              "num_key_value_heads": 1, "vocab_size": 257216}, "vision_config": {}})");
    EXPECT_EQ(totals_of(model.config).total, 2'508'662'784);
    EXPECT_THAT(assumptions(model), Contains(HasSubstr("vision_config left out")));
}

std::string megatron(std::string_view more) {
    return R"({"hidden_size": 4096, "num_layers": 2, "num_attention_heads": 32, "seq_length": 4096,
               "max_position_embeddings": 4096, "padded_vocab_size": 32000, )" +
           std::string(more) + "}";
}

TEST(ModelFormat, MegatronsRotaryFlagMeansRope) {
    const ModelConfig rope = config_of(megatron(R"("use_rotary_position_embeddings": true)"));
    EXPECT_EQ(rope.position_encoding, PositionEncoding::rope);
    const ModelConfig both = config_of(megatron(
        R"("use_rotary_position_embeddings": true, "position_embedding_type": "learned_absolute")"));
    EXPECT_EQ(both.position_encoding, PositionEncoding::rope);
    const ModelConfig learned = config_of(megatron(R"("swiglu": false)"));
    EXPECT_EQ(totals_of(learned).total - totals_of(rope).total, 4096 * 4096);
}

TEST(ModelFormat, MegatronsGatedWidthIsTwoThirdsDownToAMultipleOf64) {
    const ModelDescription model = parse_model(megatron(R"("swiglu": true)"));
    EXPECT_EQ(model.config.intermediate_size, 10880);
    EXPECT_THAT(assumptions(model), Contains("ffn_hidden_size 10880"));
    EXPECT_EQ(config_of(megatron(R"("swiglu": true, "ffn_hidden_size": 11008)")).intermediate_size,
              11008);
    EXPECT_EQ(config_of(megatron(R"("swiglu": false)")).intermediate_size, 16384);
}

TEST(ModelFormat, MegatronsOtherBlocksAreRefusedByTheirKeys) {
    EXPECT_THAT(refusal_of(megatron(R"("multi_latent_attention": true)")),
                HasSubstr("multi_latent_attention must be false"));
    EXPECT_THAT(refusal_of(megatron(R"("swiglu": true, "mtp_num_layers": 1)")),
                HasSubstr("mtp_num_layers"));
    EXPECT_THAT(refusal_of(megatron(R"("swiglu": true, "num_experts": 8, "moe_layer_freq": 2)")),
                HasSubstr("moe_layer_freq"));
    EXPECT_EQ(refusal_of(megatron(R"("swiglu": true, "multi_latent_attention": false)")), "");
}

TEST(ModelFormat, MegatronsArgumentsAreReadAsACommandLineSpellsThem) {
    const ModelDescription model = parse_model(
        R"({"num-layers": 32, "hidden-size": 4096, "ffn-hidden-size": 14336,
            "num-attention-heads": 32, "group-query-attention": true, "num-query-groups": 8,
            "seq-length": 8192, "max-position-embeddings": 8192, "normalization": "RMSNorm",
            "swiglu": true, "disable-bias-linear": true, "vocab-size": 128256,
            "untie-embeddings-and-output-weights": true, "use-rotary-position-embeddings": true,
            "rotary-base": 500000, "micro-batch-size": 1})");
    EXPECT_EQ(model.format, "file of Megatron-LM's arguments");
    EXPECT_EQ(totals_of(model.config).total, 8'030'261'248);
}

TEST(ModelFormat, LitgptsFilesWithoutExpertsAreDense) {
    EXPECT_EQ(totals_of(R"({"block_size": 64, "padded_vocab_size": 512, "n_layer": 2, "n_head": 4,
                            "n_embd": 64, "n_query_groups": 4, "intermediate_size": 96,
                            "bias": false, "rotary_percentage": 1.0, "mlp_class_name": "LLaMAMLP",
                            "norm_class_name": "RMSNorm", "n_expert": 0,
                            "n_expert_per_token": 0})")
                  .total,
              2 * 512 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64) + 64);
}

TEST(ModelFormat, MistralsNullsAreAbsentAndItsLatentAttentionIsRead) {
    const std::string_view nulls =
        R"({"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
            "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000, "use_biases": false,
            "causal": true, "rope_theta": 1000000.0, "sliding_window": null, "moe": null,
            "tied_embeddings": false, "q_lora_rank": null, "kv_lora_rank": null,
            "qk_rope_head_dim": null, "qk_nope_head_dim": null, "v_head_dim": null})";
    const ModelDescription dense = parse_model(std::string(nulls));
    EXPECT_EQ(dense.format, "params.json of Mistral");
    EXPECT_EQ(totals_of(dense.config).total, 7'241'732'096);
    const ModelDescription latent = parse_model(
        R"({"dim": 64, "n_layers": 2, "hidden_dim": 96, "n_heads": 4, "n_kv_heads": 4,
            "vocab_size": 128, "q_lora_rank": 32, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16, "v_head_dim": 16, "moe": {"num_experts": 4,
              "num_experts_per_tok": 2, "num_shared_experts": 1, "expert_hidden_dim": 32,
              "first_k_dense_replace": 1, "routed_scale": 1.0, "num_expert_groups": 1}})");
    EXPECT_EQ(latent.format, "params.json of Mistral");
    ASSERT_TRUE(latent.config.mla && latent.config.moe);
    EXPECT_EQ(latent.config.moe->intermediate_size, 32);
    EXPECT_EQ(latent.config.moe->num_shared_experts, 1);
    EXPECT_EQ(latent.config.intermediate_size, 96);
}

// The configurations of the inference code; V2 and V2-Lite have no bias of the experts.
TEST(ModelFormat, DeepSeeksSecondAndThirdVersionAreToldApart) {
    const auto file = [](std::string_view more) {
        return R"({"vocab_size": 102400, "dim": 2048, "inter_dim": 10944, "moe_inter_dim": 1408,
                   "n_layers": 27, "n_dense_layers": 1, "n_heads": 16, "n_routed_experts": 64,
                   "n_shared_experts": 2, "n_activated_experts": 6, "route_scale": 1.0,
                   "q_lora_rank": 0, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
                   "qk_rope_head_dim": 64, "v_head_dim": 128)" +
               std::string(more) + "}";
    };
    const ModelDescription lite = parse_model(file(""));
    EXPECT_EQ(totals_of(lite.config).total, 15'706'484'224);
    EXPECT_THAT(assumptions(lite), Contains(HasSubstr("deepseek_v2")));
    EXPECT_EQ(totals_of(file(R"(, "score_func": "softmax")")).total, 15'706'484'224);
    EXPECT_EQ(totals_of(file(R"(, "score_func": "sigmoid")")).total, 15'706'484'224 + 26 * 64);
}

// One wrong value does not hide the others; advice never says the opposite.
TEST(ModelFormat, KeysOfGptNeoxAndNanochatAreAllNamedWithTheRightKeys) {
    EXPECT_THAT(
        refusal_of(R"({"num-layers": 12, "hidden-size": 768, "num-attention-heads": 12,
                       "seq-length": 2048, "normalization": "RMSNorm", "pos-emb": "rotary",
                       "no-weight-tying": true, "layer_norm_type": "rms", "rotary-pct": 0.25,
                       "gpt-j-residual": true})"),
        AllOf(HasSubstr("9 unknown keys"),
              HasSubstr("'num-layers'; the key is 'num_hidden_layers' here"),
              HasSubstr("'no-weight-tying'; the key is 'tie_word_embeddings' here, with the "
                        "opposite value"),
              HasSubstr("'layer_norm_type'; the key is 'normalization' here"),
              HasSubstr("'pos-emb'; the key is 'position_encoding' here"),
              HasSubstr("'rotary-pct'; the key is 'partial_rotary_factor' here"),
              HasSubstr("'gpt-j-residual'; the key is 'use_parallel_residual' here")));
    EXPECT_THAT(refusal_of(R"({"sequence_len": 2048, "vocab_size": 32768, "n_layer": 20,
                               "n_head": 10, "n_kv_head": 10, "n_embd": 1280,
                               "window_pattern": "SSSL"})"),
                AllOf(HasSubstr("2 unknown keys"),
                      HasSubstr("'sequence_len'; the key is 'max_position_embeddings' here"),
                      HasSubstr("'window_pattern'")));
    EXPECT_THAT(refusal_of(R"({"n_layer": 1, "n_embd": 8, "n_head": 1, "vocab_size": 8,
                               "hidden_act": "softplus"})"),
                AllOf(HasSubstr("softplus"), testing::Not(HasSubstr("did you mean"))));
}

}  // namespace
}  // namespace isoflop::model
