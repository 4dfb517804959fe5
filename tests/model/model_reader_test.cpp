// Files into configs: aliases, presets, defaults, refusals. Several tests are named after a defect
// of the earlier Python trainer that they rule out.
#include "isoflop/model/model_reader.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model_test_support.hpp"
#include "source_dir.hpp"

namespace isoflop::model {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::string_view kGpt2Sizes =
    R"("n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 100, "block_size": 16)";

std::string with(std::string_view more) {
    return fmt::format("{{{}, {}}}", kGpt2Sizes, more);
}

TEST(ModelReader, AliasesMeanTheSameAsHuggingFaceNames) {
    const ModelConfig ours = config_of(
        R"({"n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 32, "d_ff": 48, "vocab_size": 9,
            "block_size": 16, "weight_tying": true, "activation": "gelu", "norm_eps": 1e-4})");
    const ModelConfig theirs = config_of(
        R"({"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 32, "intermediate_size": 48, "vocab_size": 9,
            "max_position_embeddings": 16, "tie_word_embeddings": true, "hidden_act": "gelu",
            "rms_norm_eps": 1e-4})");
    EXPECT_EQ(totals_of(ours).total, totals_of(theirs).total);
    EXPECT_EQ(ours.num_key_value_heads, 2);
    EXPECT_EQ(ours.intermediate_size, 48);
    EXPECT_EQ(ours.max_position_embeddings, 16);
    EXPECT_TRUE(ours.tie_word_embeddings);
    EXPECT_EQ(ours.activation, Activation::gelu);
    EXPECT_DOUBLE_EQ(ours.norm_eps, 1e-4);
    EXPECT_DOUBLE_EQ(theirs.norm_eps, 1e-4);
}

TEST(ModelReader, AKeyAndItsAliasMustAgree) {
    EXPECT_EQ(refusal_of(with(R"("hidden_size": 32)")), "");
    EXPECT_EQ(refusal_of(with(R"("hidden_size": null)")), "");
    EXPECT_THAT(refusal_of(with(R"("hidden_size": 64)")),
                AllOf(HasSubstr("n_embd"), HasSubstr("64")));
}

TEST(ModelReader, RefusesBadValuesWithKeyAndPlace) {
    EXPECT_THAT(refusal_of("{\n  \"n_layer\": 2,\n  \"n_head\": 0\n}"),
                AllOf(HasSubstr("test.json:3:"), HasSubstr("n_head"), HasSubstr(">= 1")));
    EXPECT_THAT(refusal_of(R"({"hidden_size": "768"})"), HasSubstr("an integer"));
    EXPECT_THAT(refusal_of(R"({"num_hidden_layers": -3})"), HasSubstr("-3"));
    EXPECT_THAT(refusal_of(R"({"hidden_size": 1e15})"), HasSubstr("hidden_size"));
    EXPECT_THAT(refusal_of(R"({"hidden_act": "gellu"})"), HasSubstr("did you mean 'gelu'"));
}

/// Members times unknown keys would be 22 billion comparisons.
TEST(ModelReader, ManyUnknownKeysAreReadInTimeProportionalToThem) {
    std::string more = R"("model_type": "llama", "intermediate_size": 64)";
    for (int key = 0; key < 150'000; ++key) more += fmt::format(R"(, "foreign_{}_size": 1)", key);
    const ModelDescription model = parse_model(with(more));
    EXPECT_EQ(model.unknown_keys.size(), 150'000U);
    ASSERT_FALSE(model.warnings.empty());
    EXPECT_LT(model.warnings.front().size(), 4000U);
    EXPECT_THAT(model.warnings.front(), HasSubstr("more"));
    more.erase(0, more.find(", \"foreign") + 1);
    const std::string message = refusal_of(with(more));
    EXPECT_THAT(message, HasSubstr("150000 unknown keys"));
    EXPECT_THAT(message, HasSubstr("and 149936 more"));
}

TEST(ModelReader, MissingSizesAreNamed) {
    EXPECT_THAT(refusal_of("{}"), HasSubstr("num_hidden_layers"));
    EXPECT_THAT(refusal_of(R"({"n_layer": 2})"),
                AllOf(HasSubstr("hidden_size"), HasSubstr("n_embd")));
    EXPECT_THAT(refusal_of(R"({"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1,
                               "num_attention_heads": 2, "vocab_size": 10})"),
                HasSubstr("intermediate_size"));
}

TEST(ModelReader, HeadsMustDivideUnlessHeadDimIsGiven) {
    const auto json = [](std::string_view more) {
        return fmt::format(R"({{"n_layer": 1, "n_embd": 100, "n_head": 3, "vocab_size": 10{}}})",
                           more);
    };
    EXPECT_THAT(
        refusal_of(json("")),
        AllOf(HasSubstr("hidden_size"), HasSubstr("num_attention_heads"), HasSubstr("100 and 3")));
    const ModelConfig config = config_of(json(R"(, "head_dim": 64)"));
    EXPECT_EQ(config.head_dim, 64);
    EXPECT_EQ(config.query_width(), 192);
    EXPECT_THAT(refusal_of(json(R"(, "head_dim": 64, "num_key_value_heads": 2)")),
                HasSubstr("3 and 2"));
    // Mistral's class has 8 key/value heads when the file does not say.
    EXPECT_THAT(refusal_of(R"({"model_type": "mistral", "hidden_size": 32, "num_hidden_layers": 1,
                               "num_attention_heads": 4, "vocab_size": 10, "intermediate_size": 8})"),
                HasSubstr("num_key_value_heads is not given; mistral has 8"));
}

TEST(ModelReader, UnknownModelTypesListTheKnownOnes) {
    EXPECT_THAT(refusal_of(R"({"model_type": "lama"})"),
                AllOf(Not(HasSubstr("did you mean")), HasSubstr("deepseek_v3"), HasSubstr("bloom"),
                      HasSubstr("norm_position")))
        << "another architecture is no advice";
    EXPECT_THAT(refusal_of(R"({"architectures": ["MambaForCausalLM"], "hidden_size": 64})"),
                HasSubstr("model_type"));
    try {
        (void)config_of(R"({"model_type": "mamba"})");
        FAIL() << "mamba was accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::usage);
    }
}

TEST(ModelReader, ForeignKeysAreForHuggingFaceFilesOnly) {
    EXPECT_THAT(refusal_of(with(R"("n_layers_total": 3)")), HasSubstr("n_layers_total"));
    EXPECT_THAT(refusal_of(with(R"("nrom_position": "pre")")),
                HasSubstr("did you mean 'norm_position'"));
    const std::string foreign = R"({"model_type": "gpt2", "some_foreign_key": {"a": 1}, )";
    const ModelDescription model = parse_model(foreign + std::string(kGpt2Sizes) + "}");
    EXPECT_THAT(model.unknown_keys, ElementsAre("some_foreign_key"));
    // Keys of transformers' classes resemble ours; in their files no key is an error.
    const ModelDescription close = parse_model(
        with(R"("model_type": "gpt2", "rope_interleaved": true, "num_labels": 2, "n_inner_": 3)"));
    EXPECT_THAT(close.unknown_keys, ElementsAre("rope_interleaved", "num_labels", "n_inner_"));
}

TEST(ModelReader, AllUnknownKeysAreInOneMessageWithTheRightKeys) {
    EXPECT_THAT(refusal_of(with(R"("context_length": 3, "d_kv": 4, "hidden_dim": 5, "colour": 6)")),
                AllOf(HasSubstr("4 unknown keys"),
                      HasSubstr("'context_length'; the key is 'max_position_embeddings' here"),
                      HasSubstr("'d_kv'; the key is 'head_dim' here"),
                      HasSubstr("'hidden_dim'; the key is 'hidden_size or intermediate_size' here"),
                      HasSubstr("'colour'")));
}

TEST(ModelReader, SizesWithoutEffectBringAWarning) {
    const ModelDescription qwen = parse_model(
        R"({"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 48, "moe_intermediate_size": 32,
            "vocab_size": 10, "num_experts": 16, "n_shared_experts": 2, "num_labels": 3,
            "shared_expert_intermediate_size": 96, "rope_interleaved": true})");
    EXPECT_THAT(qwen.warnings,
                ElementsAre(AllOf(HasSubstr("shared_expert_intermediate_size"),
                                  Not(HasSubstr("num_labels"))),
                            AllOf(HasSubstr("qwen3_moe"), HasSubstr("n_shared_experts"))));
    const ModelDescription llama = parse_model(
        R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 10,
            "num_attention_heads": 4, "intermediate_size": 48, "num_experts": 0,
            "attention_bias": true, "head_dim": 16})");
    EXPECT_THAT(llama.warnings, IsEmpty());
}

TEST(ModelReader, SaysWhatItAssumes) {
    const ModelDescription model = parse_model(
        R"({"n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50257, "block_size": 1024,
            "bias": false, "dropout": 0.0})");
    EXPECT_THAT(assumptions(model),
                ElementsAre(AllOf(HasSubstr("llama"), HasSubstr("gpt2: 124,337,664 parameters")),
                            "num_key_value_heads 12", "intermediate_size 2048",
                            "tie_word_embeddings false"));
}

TEST(ModelReader, OverridesTakeAnyName) {
    const config::Document document =
        config::parse_jsonc(with(R"("arch_preset": "llama")"), "a.jsonc");
    const std::vector<std::string> overrides = {"n_layer=5", "tie_word_embeddings=true"};
    const ModelConfig config = read_model(document, overrides).config;
    EXPECT_EQ(config.num_hidden_layers, 5);
    EXPECT_TRUE(config.tie_word_embeddings);
    EXPECT_THROW((void)read_model(document, std::vector<std::string>{"n_layer=none"}), ConfigError);
    EXPECT_THROW((void)read_model(document, std::vector<std::string>{"n_leyer=3"}), ConfigError);
}

TEST(ModelReader, AModelTypeFixesItsChoices) {
    const auto override_gpt2 = [](const std::string& assignment) {
        const config::Document document =
            config::parse_jsonc(with(R"("model_type": "gpt2")"), "a.jsonc");
        try {
            (void)read_model(document, std::vector<std::string>{assignment});
        } catch (const ConfigError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_THAT(
        override_gpt2("normalization=rmsnorm"),
        AllOf(HasSubstr("normalization"), HasSubstr("layernorm"), HasSubstr("arch_preset")));
    EXPECT_EQ(override_gpt2("normalization=layernorm"), "");
    EXPECT_THAT(override_gpt2("bias=false"), HasSubstr("bias"));
    EXPECT_THAT(override_gpt2("num_key_value_heads=1"), HasSubstr("num_key_value_heads"));
    EXPECT_THAT(refusal_of(with(R"("model_type": "gpt2", "arch_preset": "llama")")),
                AllOf(HasSubstr("model_type"), HasSubstr("arch_preset")));
    EXPECT_THAT(refusal_of(with(R"("model_type": "gpt2", "add_cross_attention": true)")),
                HasSubstr("add_cross_attention"));
}

constexpr std::string_view kGpt2File =
    R"({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 12, "n_head": 12,
        "n_embd": 768, "vocab_size": 50257, "n_positions": 1024, "n_ctx": 1024)";
constexpr std::string_view kLlamaFile =
    R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96)";

std::string file_with(std::string_view file, std::string_view more) {
    return fmt::format("{}, {}}}", file, more);
}

/// The key has no effect, and is named where it says another model.
void expect_foreign(std::string_view file, std::string_view member, bool is_named) {
    SCOPED_TRACE(member);
    const ModelDescription plain = parse_model(fmt::format("{}}}", file));
    const ModelDescription model = parse_model(file_with(file, member));
    EXPECT_EQ(totals_of(model.config).total, totals_of(plain.config).total);
    EXPECT_TRUE(plain.warnings.empty());
    const std::string key(member.substr(1, member.find('"', 1) - 1));
    if (is_named) {
        EXPECT_THAT(model.warnings, ElementsAre(HasSubstr(key)));
    } else {
        EXPECT_THAT(model.warnings, IsEmpty());
    }
}

TEST(HuggingFaceFiles, AreReadByTheKeysOfTheirClass) {
    EXPECT_EQ(totals_of(fmt::format("{}}}", kGpt2File)).total, 124'439'808);
    for (const std::string_view member :
         {R"("intermediate_size": 1000)", R"("ffn_dim": 1000)", R"("d_ff": 1000)",
          R"("expansion_ratio": 2)", R"("head_dim": 32)", R"("num_key_value_heads": 1)",
          R"("normalization": "rmsnorm")", R"("bias": false)", R"("block_size": 16)",
          R"("num_experts": 4)"}) {
        expect_foreign(kGpt2File, member, true);
    }
    expect_foreign(kGpt2File, R"("intermediate_size": 3072)", false);
    expect_foreign(kGpt2File, R"("rms_norm_eps": "many")", false);
    const std::string bloom = R"({"model_type": "bloom", "hidden_size": 64, "n_layer": 2,
                                  "n_head": 4, "vocab_size": 128)";
    expect_foreign(bloom, R"("expansion_ratio": 2)", true);
    expect_foreign(bloom, R"("intermediate_size": 100)", true);
    const std::string mpt = R"({"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4,
                                "vocab_size": 128, "expansion_ratio": 4)";
    expect_foreign(mpt, R"("intermediate_size": 100)", true);
}

TEST(HuggingFaceFiles, ForeignKeysAreNeverErrors) {
    for (const std::string_view member :
         {R"("n_layer": 2)", R"("n_inner": 40)", R"("weight_tying": true)", R"("bias": true)",
          R"("qk_norm": true)", R"("add_cross_attention": true)", R"("kv_lora_rank": 16)",
          R"("norm_position": "post")"}) {
        expect_foreign(kLlamaFile, member, true);
    }
    for (const std::string_view member :
         {R"("seq_length": 4096)", R"("n_layer": 4)", R"("qk_norm": false)", R"("n_ctx": "long")",
          R"("layer_norm_eps": 0.5)", R"("activation_function": "gelu_new")"}) {
        expect_foreign(kLlamaFile, member, false);
    }
}

TEST(HuggingFaceFiles, ChoicesUnderOtherNamesAreNamed) {
    for (const std::string_view member :
         {R"("qkv_bias": true)", R"("use_bias": true)", R"("use_qk_norm": true)",
          R"("qk_layernorm": true)", R"("multi_query": true)", R"("lm_head_bias": true)"}) {
        expect_foreign(kLlamaFile, member, true);
    }
    for (const std::string_view member :
         {R"("qkv_bias": false)", R"("use_qk_norm": false)", R"("multi_query": false)",
          R"("num_beam_groups": 1)", R"("no_repeat_ngram_size": 3)", R"("num_beams": 1)",
          R"("encoder_no_repeat_ngram_size": 2)", R"("top_k": 50)", R"("max_length": 20)",
          R"("num_return_sequences": 1)", R"("use_bidirectional_attention": true)"}) {
        expect_foreign(kLlamaFile, member, false);
    }
}

// As transformers 4.28 and 5 write the same model, with what either adds.
TEST(HuggingFaceFiles, OfOldAndNewVersionsSayTheSame) {
    const ModelDescription old = parse_model(
        R"({"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
            "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
            "intermediate_size": 11008, "max_position_embeddings": 2048,
            "max_sequence_length": 2048, "model_type": "llama", "num_attention_heads": 32,
            "num_hidden_layers": 32, "pad_token_id": 0, "rms_norm_eps": 1e-06,
            "tie_word_embeddings": false, "torch_dtype": "float16",
            "transformers_version": "4.28.0", "use_cache": true, "vocab_size": 32000})");
    const ModelDescription current = parse_model(
        R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
            "attention_dropout": 0.0, "dtype": "float16", "head_dim": 128, "hidden_act": "silu",
            "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008,
            "max_position_embeddings": 2048, "mlp_bias": false, "model_type": "llama",
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
            "pretraining_tp": 1, "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta": 10000.0,
            "rope_type": "default"}, "tie_word_embeddings": false,
            "transformers_version": "5.0.0", "use_cache": true, "vocab_size": 32000})");
    for (const ModelDescription* model : {&old, &current}) {
        EXPECT_EQ(totals_of(model->config).total, 6'738'415'616);
        EXPECT_THAT(model->warnings, IsEmpty());
        EXPECT_EQ(model->config.rope_theta, 10000);
    }
}

TEST(HuggingFaceFiles, SayTheWindowsTheyAssume) {
    const ModelDescription gemma = parse_model(
        R"({"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912,
            "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1,
            "head_dim": 256, "vocab_size": 262144, "max_position_embeddings": 32768})");
    EXPECT_THAT(assumptions(gemma), ElementsAre("tie_word_embeddings true", "sliding_window 4096",
                                                HasSubstr("sliding_window_pattern 6")));
}

TEST(Presets, HaveTheChoicesOfTheDocumentation) {
    const ModelConfig llama = config_of(R"({"arch_preset": "llama"})");
    EXPECT_EQ(summary_name(llama), "12L-12H-768D-RoPE-RMS-SwiGLU-PreNorm");
    EXPECT_EQ(llama.vocab_size, 50304);
    EXPECT_EQ(llama.max_position_embeddings, 1024);
    EXPECT_EQ(llama.intermediate_size, 2048);
    EXPECT_FALSE(llama.tie_word_embeddings);
    EXPECT_EQ(llama.model_type, "llama");

    const ModelConfig hybrid = config_of(R"({"arch_preset": "hybrid"})");
    EXPECT_EQ(summary_name(hybrid), "12L-12H-768D-RoPE-LN-NB-GELU-PreNorm");
    EXPECT_TRUE(hybrid.tie_word_embeddings);
    EXPECT_EQ(hybrid.intermediate_size, 3072);
    EXPECT_EQ(hybrid.model_type, "custom");

    const ModelConfig qwen3 = config_of(R"({"arch_preset": "qwen3"})");
    EXPECT_EQ(qwen3.head_dim, 128);
    EXPECT_EQ(qwen3.qk_norm, QkNorm::per_head);
    EXPECT_TRUE(qwen3.tie_word_embeddings);
    EXPECT_EQ(qwen3.model_type, "qwen3");
}

TEST(Presets, TeamIsAnAliasOfLlama) {
    EXPECT_EQ(totals_of(R"({"arch_preset": "team"})").total,
              totals_of(R"({"arch_preset": "llama"})").total);
    EXPECT_EQ(config_of(R"({"arch_preset": "team"})").preset, "llama");
}

TEST(Presets, WithoutOneTheChoicesAreLlamas) {
    EXPECT_EQ(summary_name(config_of(with(R"("dropout": 0.1)"))),
              "2L-2H-32D-RoPE-RMS-SwiGLU-PreNorm");
}

/// Defect 1 of the earlier trainer: a preset with another n_embd kept the feed-forward width of
/// 768.
TEST(Presets, FeedForwardWidthFollowsHiddenSize) {
    const auto width = [](std::string_view preset, std::int64_t hidden,
                          std::string_view more = "") {
        return config_of(fmt::format(R"({{"arch_preset": "{}", "n_embd": {}, "n_head": 1{}}})",
                                     preset, hidden, more))
            .intermediate_size;
    };
    EXPECT_EQ(width("gpt2", 384), 1536);
    EXPECT_EQ(width("gpt2", 32), 128);
    EXPECT_EQ(width("llama", 384), 1024);
    EXPECT_EQ(width("llama", 384, R"(, "ffn_type": "standard")"), 1536);
    EXPECT_EQ(width("llama", 384, R"(, "ffn_expansion_ratio": 3.5)"), 1344);
    EXPECT_EQ(width("llama", 384, R"(, "ffn_expansion_ratio": 3.5, "d_ff": 7)"), 7);
}

/// Defect 23: int(8 C / 3) left C = 1000 with 2666, off every alignment.
TEST(Presets, SwigluWidthIsAMultipleOf64) {
    for (const std::int64_t hidden : {2, 24, 26, 768, 1000, 1024, 4096, 4098}) {
        const ModelConfig config = config_of(
            fmt::format(R"({{"arch_preset": "llama", "n_embd": {}, "n_head": 1}})", hidden));
        EXPECT_EQ(config.intermediate_size % 64, 0) << hidden;
        EXPECT_GE(3 * config.intermediate_size, 8 * hidden) << hidden;
        EXPECT_LT(3 * (config.intermediate_size - 64), 8 * hidden) << hidden;
    }
}

/// Defect 2: choices were ignored unless the preset was "custom", and all ablations trained the
/// same network.
TEST(Presets, SingleChoicesOverrideEveryPreset) {
    for (const std::string_view preset : {"gpt2", "llama", "hybrid", "qwen3", "custom"}) {
        std::set<std::string> names;
        std::size_t tried = 0;
        for (const std::string_view choice :
             {R"("normalization": "rmsnorm")", R"("normalization": "layernorm")",
              R"("normalization": "layernorm_nobias")"}) {
            names.insert(summary_name(
                config_of(fmt::format(R"({{"arch_preset": "{}", {}}})", preset, choice))));
            ++tried;
        }
        EXPECT_EQ(names.size(), tried) << preset;
        const auto config = [&](std::string_view choice) {
            return config_of(fmt::format(R"({{"arch_preset": "{}", {}}})", preset, choice));
        };
        EXPECT_EQ(config(R"("position_encoding": "none")").position_encoding,
                  PositionEncoding::none);
        EXPECT_EQ(config(R"("norm_position": "post")").norm_position, NormPosition::post);
        EXPECT_EQ(config(R"("ffn_type": "standard")").ffn_type, FfnType::standard);
        EXPECT_EQ(config(R"("activation": "relu")").activation, Activation::relu);
        EXPECT_EQ(config(R"("qk_norm": "full_width")").qk_norm, QkNorm::full_width);
        EXPECT_EQ(config(R"("qk_norm": false)").qk_norm, QkNorm::none);
        EXPECT_TRUE(config(R"("bias": true)").ffn_bias);
        EXPECT_TRUE(config(R"("bias": true, "mlp_bias": false)").qkv_bias);
        EXPECT_FALSE(config(R"("bias": true, "mlp_bias": false)").ffn_bias);
    }
}

/// Defect 9: the earlier gpt2 preset was post-norm; GPT-2 is pre-norm.
TEST(Presets, Gpt2IsPreNorm) {
    const ModelConfig gpt2 = config_of(R"({"arch_preset": "gpt2"})");
    EXPECT_EQ(summary_name(gpt2), "12L-12H-768D-AbsPos-LN-NB-GELU-PreNorm");
    EXPECT_TRUE(gpt2.tie_word_embeddings);
    EXPECT_EQ(gpt2.naming, TensorNaming::gpt2);
}

TEST(Presets, TensorNamesFollowTheBlock) {
    EXPECT_EQ(config_of(R"({"arch_preset": "gpt2", "position_encoding": "rope"})").naming,
              TensorNaming::llama);
    EXPECT_EQ(config_of(R"({"arch_preset": "llama", "position_encoding": "learned_absolute",
                            "ffn_type": "standard", "normalization": "layernorm"})")
                  .naming,
              TensorNaming::gpt2);
    EXPECT_EQ(
        config_of(R"({"arch_preset": "llama", "num_experts": 4, "num_experts_per_tok": 2})").naming,
        TensorNaming::qwen3_moe);
}

TEST(ModelReader, ReadsTransformers5RotaryParameters) {
    const ModelConfig config = config_of(with(
        R"("rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
           "original_max_position_embeddings": 8192, "partial_rotary_factor": 0.5})"));
    EXPECT_DOUBLE_EQ(config.rope_theta, 500000.0);
    EXPECT_DOUBLE_EQ(config.rotary_fraction, 0.5);
    ASSERT_TRUE(config.rope_scaling);
    EXPECT_EQ(config.rope_scaling->type, "llama3");
    EXPECT_DOUBLE_EQ(config.rope_scaling->factor, 8.0);
    EXPECT_EQ(config.rope_scaling->original_max_position_embeddings, 8192);
    EXPECT_FALSE(config_of(with(R"("rope_scaling": null)")).rope_scaling);
    EXPECT_FALSE(config_of(with(R"("rope_scaling": {"type": "default"})")).rope_scaling);
    EXPECT_THAT(refusal_of(with(R"("rope_scaling": 2)")),
                HasSubstr("rope_scaling must be an object"));
}

TEST(ModelReader, LayerTypesSayWhichLayersHaveAWindow) {
    EXPECT_EQ(refusal_of(with(R"("layer_types": ["full_attention", "full_attention"])")), "");
    EXPECT_THAT(refusal_of(with(R"("layer_types": ["full_attention", "sliding_attention"])")),
                HasSubstr("no sliding_window"));
    EXPECT_THAT(refusal_of(with(R"("layer_types": ["full_attention"])")), HasSubstr("2 entries"));
    EXPECT_THAT(refusal_of(with(R"("layer_types": ["full_attention", "linear_attention"])")),
                HasSubstr("linear_attention"));
    const ModelConfig config = config_of(
        with(R"("sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"])"));
    EXPECT_FALSE(config.is_window_layer(0));
    EXPECT_TRUE(config.is_window_layer(1));
    EXPECT_EQ(config.num_window_layers(), 1);
}

TEST(ModelReader, RefusesAPartThatItsTypeDoesNotHave) {
    const auto llama = [](std::string_view more) {
        return fmt::format(R"({{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 32,
            "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100{}}})",
                           more);
    };
    EXPECT_EQ(refusal_of(llama("")), "");
    EXPECT_THAT(refusal_of(llama(R"(, "attention_class": "deltanet")")),
                HasSubstr("'attention_class' changes the layers of a llama model"));
    EXPECT_THAT(refusal_of(llama(R"(, "second_router": {"experts": 4})")),
                HasSubstr("'second_router'"));
    EXPECT_THAT(refusal_of(llama(R"(, "mamba_layers": [0])")), HasSubstr("'mamba_layers'"));
    // Not in use, or about training.
    EXPECT_EQ(refusal_of(llama(R"(, "second_router": null, "use_mamba": false)")), "");
    EXPECT_EQ(refusal_of(llama(R"(, "router_z_loss_weight": 0.1)")), "");
}

TEST(ModelReader, MptReadsItsNestedObjects) {
    const auto mpt = [](std::string_view more) {
        return fmt::format(R"({{"model_type": "mpt", "n_layers": 1, "n_heads": 4, "d_model": 32,
                                "vocab_size": 50, "max_seq_len": 16{}}})",
                           more);
    };
    EXPECT_EQ(summary_name(config_of(mpt(""))), "1L-4H-32D-ALiBi-LN-NB-GELU-PreNorm");
    const ModelConfig grouped = config_of(mpt(
        R"(, "attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 2, "alibi": false})"));
    EXPECT_EQ(grouped.num_key_value_heads, 2);
    EXPECT_EQ(grouped.position_encoding, PositionEncoding::learned_absolute);
    EXPECT_THAT(refusal_of(mpt(R"(, "attn_config": {"qk_ln": true})")), HasSubstr("qk_ln"));
    EXPECT_THAT(refusal_of(mpt(R"(, "ffn_config": {"ffn_type": "mptglu"})")), HasSubstr("mptglu"));
    EXPECT_THAT(refusal_of(mpt(R"(, "attn_config": 3)")),
                HasSubstr("attn_config must be an object"));
}

struct ShippedConfig {
    std::string_view file;
    std::int64_t total;
};

TEST(ShippedConfigs, HaveTheirPublishedCounts) {
    for (const auto& [file, total] :
         {ShippedConfig{"example_llama", 6738415616},
          ShippedConfig{"example_llama_flash", 6738415616}, ShippedConfig{"llama_7b", 6738415616},
          ShippedConfig{"llama2_70b", 68976648192}, ShippedConfig{"llama3_8b", 8030261248},
          ShippedConfig{"llama3_405b", 405853388800}, ShippedConfig{"gpt2_124m", 124439808},
          ShippedConfig{"gpt2_355m", 354823168}, ShippedConfig{"gpt2_774m", 774030080},
          ShippedConfig{"gpt2_1558m", 1557611200}, ShippedConfig{"mistral_7b", 7241732096},
          ShippedConfig{"mixtral_8x7b", 46702792704}, ShippedConfig{"qwen3_1_7b", 1720574976},
          ShippedConfig{"deepseek_v3", 671026419200}}) {
        const std::string path =
            fmt::format("{}/configs/models/{}.jsonc", ISOFLOP_SOURCE_DIR, file);
        const ModelDescription model = read_model_file(path);
        EXPECT_EQ(totals_of(model.config).total, total) << file;
        EXPECT_TRUE(model.unknown_keys.empty()) << file;
    }
    EXPECT_EQ(
        read_model_file(ISOFLOP_SOURCE_DIR "/configs/models/gpt2_124m.jsonc").config.model_type,
        "gpt2");
}

}  // namespace
}  // namespace isoflop::model
