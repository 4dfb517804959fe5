// What the earlier Python trainer's users rely on: its keys, defaults, presets, learning rate and
// report. Fields of the log are checked on a real run in tests/tools/earlier_trainer_test.py.
#include <gmock/gmock.h>

#include <cmath>
#include <numbers>

#include "isoflop/trainer/schedule.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_log/run_log_test_support.hpp"
#include "source_dir.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

/// Every key of its command line and of its JSON files, with its default. null: not set.
const ordered_json& earlier_defaults() {
    static const ordered_json defaults = {{"out_dir", "out"},
                                          {"eval_interval", 2000},
                                          {"log_interval", 1},
                                          {"eval_iters", 200},
                                          {"eval_only", false},
                                          {"always_save_checkpoint", true},
                                          {"init_from", "scratch"},
                                          {"save_log_to_json", true},
                                          {"log_save_interval", 100},
                                          {"gradient_log_interval", 10},
                                          {"dataset", "openwebtext"},
                                          {"gradient_accumulation_steps", 40},
                                          {"batch_size", 12},
                                          {"block_size", 1024},
                                          {"n_layer", 12},
                                          {"n_head", 12},
                                          {"n_embd", 768},
                                          {"dropout", 0.0},
                                          {"bias", false},
                                          {"arch_preset", "gpt2"},
                                          {"normalization", "layernorm_nobias"},
                                          {"activation", "gelu"},
                                          {"attention_backend", "sdpa"},
                                          {"position_encoding", "learned_absolute"},
                                          {"norm_position", "post"},
                                          {"ffn_type", "standard"},
                                          {"weight_tying", true},
                                          {"rope_theta", 10000.0},
                                          {"learning_rate", 6e-4},
                                          {"max_iters", 600000},
                                          {"weight_decay", 0.1},
                                          {"beta1", 0.9},
                                          {"beta2", 0.95},
                                          {"grad_clip", 1.0},
                                          {"decay_lr", true},
                                          {"warmup_iters", 2000},
                                          {"lr_decay_iters", 600000},
                                          {"min_lr", 6e-5},
                                          {"use_zero1", false},
                                          {"use_fsdp", false},
                                          {"fsdp_min_num_params", 1e6},
                                          {"fsdp_activation_checkpointing", false},
                                          {"device", "cuda"},
                                          {"dtype", "bfloat16"},
                                          {"norm_eps", 1e-5},
                                          {"vocab_size", 50304},
                                          {"d_ff", nullptr},
                                          {"ffn_expansion_ratio", nullptr}};
    return defaults;
}

std::string as_override(const std::string& key, const ordered_json& value) {
    return key + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
}

TEST(EarlierContract, EveryKeyIsTakenWithItsDefault) {
    for (const auto& [key, value] : earlier_defaults().items())
        EXPECT_NO_THROW(
            static_cast<void>(recipe::train_keys_from(Overrides{as_override(key, value)})));
}

TEST(EarlierContract, DefaultsAreTheSameOrDocumented) {
    const std::string differences = run_log::text_of(ISOFLOP_SOURCE_DIR "/docs/differences.md");
    const ordered_json ours = config_record(plan_of({}));
    for (const auto& [key, value] : earlier_defaults().items()) {
        if (value.is_null()) continue;
        ASSERT_TRUE(ours.contains(key)) << key;
        const bool same = value.is_number_float()
                              ? std::abs(ours[key].get<double>() - value.get<double>()) <=
                                    1e-12 * std::abs(value.get<double>())
                              : ours[key] == value;
        if (!same) {
            EXPECT_THAT(differences, HasSubstr("| `" + key + "` |")) << ours[key];
        }
    }
}

TEST(EarlierContract, KeysThatMeanNothingHereSayWhatToUse) {
    for (const auto& [key, advice] :
         {std::pair("compile", "leave it out"), std::pair("backend", "attention_backend"),
          std::pair("wandb_log", "tensorboard"), std::pair("wandb_project", "tensorboard"),
          std::pair("wandb_run_name", "run_name"), std::pair("attention_dropout", "dropout"),
          std::pair("residual_dropout", "dropout"),
          std::pair("keep_all_checkpoints", "keep_checkpoints")}) {
        try {
            static_cast<void>(recipe::train_keys_from(Overrides{std::string(key) + "=1"}));
            FAIL() << key;
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), HasSubstr(key));
            EXPECT_THAT(error.what(), HasSubstr(advice));
        }
    }
}

TEST(EarlierContract, EveryChoiceIsKnown) {
    const std::vector<std::pair<std::string, std::vector<std::string>>> choices = {
        {"arch_preset", {"gpt2", "llama", "hybrid", "team", "custom", "legacy"}},
        {"normalization", {"layernorm", "layernorm_nobias", "rmsnorm"}},
        {"activation", {"gelu", "silu", "relu", "leaky_relu"}},
        {"attention_backend", {"flash_attn_2", "sdpa", "manual"}},
        {"position_encoding", {"learned_absolute", "rope", "none"}},
        {"norm_position", {"pre", "post"}},
        {"ffn_type", {"standard", "swiglu"}},
        {"device", {"cpu", "cuda"}},
        {"dtype", {"float32", "bfloat16", "float16"}}};
    for (const auto& [key, values] : choices) {
        for (const std::string& value : values)
            EXPECT_NO_THROW(
                static_cast<void>(recipe::train_keys_from(Overrides{as_override(key, value)})));
    }
}

TEST(EarlierContract, PresetsAreWhatTheyWere) {
    const auto text = [](const std::string& preset) {
        const model::ModelConfig model = config_of({"arch_preset=" + preset}).model;
        EXPECT_EQ(model.num_hidden_layers, 12);
        EXPECT_EQ(model.num_attention_heads, 12);
        EXPECT_EQ(model.hidden_size, 768);
        EXPECT_EQ(model.max_position_embeddings, 1024);
        EXPECT_EQ(model.vocab_size, 50304);
        EXPECT_FALSE(model.qkv_bias || model.attention_output_bias || model.ffn_bias);
        EXPECT_EQ(model.dropout, 0);
        std::string choices;
        for (const std::string_view choice :
             {to_string(model.normalization), to_string(model.position_encoding),
              to_string(model.norm_position), to_string(model.ffn_type),
              to_string(model.activation)}) {
            choices += std::string(choice) + " ";
        }
        return choices + std::to_string(model.intermediate_size) +
               (model.tie_word_embeddings ? " tied" : " untied");
    };
    // pre instead of post: defect 9.
    EXPECT_EQ(text("gpt2"), "layernorm_nobias learned_absolute pre standard gelu 3072 tied");
    EXPECT_EQ(text("legacy"), text("gpt2"));
    EXPECT_EQ(text("llama"), "rmsnorm rope pre swiglu silu 2048 untied");
    EXPECT_EQ(text("team"), text("llama"));
    EXPECT_EQ(text("hybrid"), "layernorm_nobias rope pre standard gelu 3072 tied");
}

TEST(EarlierContract, PresetsStayPresetsWhenSizesAreOverridden) {
    const ordered_json record =
        config_record(plan_of(tiny_run({"arch_preset=llama", "normalization=layernorm"})));
    EXPECT_EQ(record["arch_preset"], "llama");
    EXPECT_EQ(record["n_embd"], 32);
    EXPECT_EQ(record["normalization"], "layernorm");
    EXPECT_EQ(record["ffn_type"], "swiglu") << "the preset's";
}

TEST(EarlierContract, RecordedConfigurationGivesTheSameRun) {
    const recipe::RunPlan plan = plan_of(
        tiny_run({"arch_preset=hybrid", "ffn_expansion_ratio=2.5", "bias=true", "dropout=0.1"}));
    const recipe::RunPlan again = attention_lab::plan_with_attention(
        machine::recipe_here(recipe::train_keys_from_json(config_record(plan), "the log")));
    const auto sorted = [](const recipe::RunPlan& of) {
        return nlohmann::json::parse(config_record(of).dump());
    };
    EXPECT_EQ(sorted(again), sorted(plan));
    EXPECT_EQ(again.parameters.total, plan.parameters.total);
    EXPECT_EQ(again.memory.arena_bytes, plan.memory.arena_bytes);
}

TEST(EarlierContract, LearningRateFollowsItsFormula) {
    const recipe::Recipe config =
        config_of({"learning_rate=1e-3", "min_lr=1e-4", "warmup_iters=100", "lr_decay_iters=1000",
                   "max_iters=2000"});
    for (const std::int64_t it : {0, 1, 99, 100, 101, 550, 999, 1000, 1001, 1999}) {
        double expected = 1e-4;
        if (it < 100) {
            expected = 1e-3 * static_cast<double>(it + 1) / 101;
        } else if (it <= 1000) {
            const double share = static_cast<double>(it - 100) / 900;
            expected = 1e-4 + 0.5 * (1 + std::cos(std::numbers::pi * share)) * (1e-3 - 1e-4);
        }
        EXPECT_NEAR(learning_rate(config, it), expected, 1e-15) << it;
    }
    const recipe::Recipe constant = config_of({"decay_lr=false", "warmup_iters=1"});
    EXPECT_EQ(learning_rate(constant, 0), 3e-4);
    EXPECT_EQ(learning_rate(constant, 500'000), 6e-4);
}

TEST(EarlierContract, WeightDecayIsForMatrices) {
    const recipe::RunPlan plan = plan_of(tiny_run({"arch_preset=gpt2", "bias=true"}));
    for (const cost::StateTensor& tensor : plan.state.tensors)
        EXPECT_EQ(tensor.spec.weight_decay(), tensor.spec.is_matrix()) << tensor.name;
    EXPECT_EQ(startup_record(plan, {}).param_groups.size(), 2U);
}

TEST(EarlierContract, StartupReportHasEveryField) {
    Hardware hardware;
    hardware.peak_flops = 1e11;
    const std::string report =
        startup_text(plan_of(tiny_run({"arch_preset=llama", "dropout=0.25"})), hardware,
                     MemoryVerdict{}, text::Colour::off);
    for (const char* field : {"2L-4H-32D-RoPE-RMS-SwiGLU-PreNorm",
                              "Total parameters",
                              "Trainable parameters",
                              "Non-embedding",
                              "Layers ",
                              "Hidden size",
                              "Attention heads",
                              "Sequence length",
                              "Vocabulary",
                              "Normalization",
                              "silu",
                              "Position encoding",
                              "theta 10000",
                              "pre-norm",
                              "swiglu 128",
                              "expansion 4.00",
                              "Bias / tying / dropout",
                              "no / untied / 0.25",
                              "Micro-batch",
                              "Accumulation",
                              "Global batch",
                              "32 tokens per iteration",
                              "Iterations",
                              "Learning rate",
                              "warm-up",
                              "weight decay 0.1",
                              "gradient clip 1",
                              "Device",
                              "Threads",
                              "Memory",
                              "Precision",
                              "Parallelism",
                              "Attention backend",
                              "FMA peak",
                              "Model FLOPs per token",
                              "Attention / FFN",
                              "Expected at 50 % MFU"}) {
        EXPECT_THAT(report, HasSubstr(field));
    }
}

}  // namespace
}  // namespace isoflop::trainer
