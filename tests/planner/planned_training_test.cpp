// The train config that executes a plan.
#include "isoflop/planner/planned_training.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "isoflop/config/jsonc.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using test::plan_config_for;
using test::plan_of;
using test::refusal;
using ::testing::AllOf;
using ::testing::HasSubstr;

config::Document written(const BackwardPlan& plan) {
    return config::parse_jsonc(emit_planned_training(plan), "train.jsonc");
}

std::int64_t integer(const config::Document& document, std::string_view key) {
    const config::Value* value = document.root.find(key);
    if (value == nullptr || !value->is_integer()) throw std::invalid_argument(std::string(key));
    return value->as_integer();
}

double number(const config::Document& document, std::string_view key) {
    const config::Value* value = document.root.find(key);
    if (value == nullptr || !value->is_number()) throw std::invalid_argument(std::string(key));
    return value->as_number();
}

std::string text(const config::Document& document, std::string_view key) {
    const config::Value* value = document.root.find(key);
    if (value == nullptr || !value->is_string()) throw std::invalid_argument(std::string(key));
    return value->as_string();
}

TEST(TrainConfig, HoldsTheNumbersOfThePlan) {
    const BackwardPlan plan =
        plan_of("flash", {"batch_size=2", "gradient_accumulation_steps=4", "loss_chunk=512",
                          "recompute=attention", "parallelism=zero1"});
    const config::Document config = written(plan);
    EXPECT_EQ(integer(config, "n_layer"), plan.run.config.model.num_hidden_layers);
    EXPECT_EQ(integer(config, "n_embd"), plan.run.config.model.hidden_size);
    EXPECT_EQ(integer(config, "n_head"), plan.run.config.model.num_attention_heads);
    EXPECT_EQ(integer(config, "n_kv_head"), plan.run.config.model.num_key_value_heads);
    EXPECT_EQ(integer(config, "intermediate_size"), plan.run.config.model.intermediate_size);
    EXPECT_EQ(integer(config, "vocab_size"), plan.run.config.model.vocab_size);
    EXPECT_EQ(integer(config, "block_size"), plan.run.config.execution.sequence_length);
    EXPECT_EQ(integer(config, "batch_size"), 2);
    EXPECT_EQ(integer(config, "loss_chunk"), 512);
    EXPECT_EQ(text(config, "dtype"), "bfloat16");
    EXPECT_EQ(text(config, "attention_backend"), "flash_attn_2");
    EXPECT_EQ(text(config, "recompute"), "attention");
    EXPECT_TRUE(config.root.find("use_zero1")->as_bool());
    EXPECT_FALSE(config.root.find("use_fsdp")->as_bool());
}

// In train configs gradient accumulation is over all ranks, in plans per GPU: the global batch must
// be the same.
TEST(TrainConfig, AccumulationIsGlobal) {
    const BackwardPlan plan =
        plan_of("flash", {"batch_size=2", "gradient_accumulation_steps=4", "num_gpus=8"});
    const config::Document config = written(plan);
    EXPECT_EQ(integer(config, "gradient_accumulation_steps"), 4 * 8);
    const auto global_sequences = static_cast<double>(
        integer(config, "batch_size") * integer(config, "gradient_accumulation_steps"));
    EXPECT_EQ(global_sequences, plan.schedule.sequences_per_step);
    const double tokens =
        static_cast<double>(integer(config, "max_iters")) * plan.schedule.tokens_per_step;
    EXPECT_GE(tokens, plan.tokens.n_tokens);
    EXPECT_LT(tokens - plan.schedule.tokens_per_step, plan.tokens.n_tokens);
}

// Li et al. 2025: eta = 1.79 N^-0.713 D^0.307; published examples for 1B on 100B and 7B on 1T
// tokens (three digits).
TEST(TrainConfig, LearningRateFollowsTheStepLaw) {
    EXPECT_NEAR(step_law_learning_rate(1e9, 100e9), 1.632e-3, 0.002e-3);
    EXPECT_NEAR(step_law_learning_rate(7e9, 1e12), 8.27e-4, 0.01e-4);
    const BackwardPlan plan = plan_of("flash");
    const double expected = step_law_learning_rate(
        static_cast<double>(plan.run.parameters.non_embedding), plan.tokens.n_tokens);
    const config::Document config = written(plan);
    EXPECT_NEAR(number(config, "learning_rate") / expected, 1.0,
                0.005);  // three digits are written
    EXPECT_NEAR(number(config, "min_lr") / expected, 0.1, 0.0005);
}

TEST(TrainConfig, DescribesTheArchitectureCompletely) {
    const auto path = test::source_path("configs/models/qwen3_1_7b.jsonc");
    test::NamedModel named{"qwen3", model::read_model_file(path).config,
                           model::read_model_file(path).keys};
    const BackwardPlan plan = plan_of(plan_config_for(named));
    // Our own model reader takes the model keys of the train config: same parameters, to the last
    // one.
    const config::Document config = written(plan);
    std::string keys = "{";
    for (const config::Member& member : config.root.as_object()) {
        const bool of_model = model::model_schema().resolve_path(member.key).has_value();
        if (of_model) keys += "\"" + member.key + "\": " + member.value.to_text() + ",";
    }
    const model::ModelConfig again = model::parse_model(keys + "}", "train.jsonc").config;
    const model::ParameterTotals totals = model::parameter_layout(again).totals();
    EXPECT_EQ(totals.total, plan.run.parameters.total);
    EXPECT_EQ(totals.by_component, plan.run.parameters.by_component);
    EXPECT_EQ(again.head_dim, 128);
    EXPECT_EQ(again.qk_norm, model::QkNorm::per_head);
    EXPECT_EQ(again.rope_theta, 1e6);
    EXPECT_EQ(again.norm_eps, 1e-6);
}

class Emitted : public ::testing::TestWithParam<test::NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, Emitted, ::testing::ValuesIn(test::all_models()), test::model_name);

// Either it is refused with the reason, or it is a config with the parameters of the plan: nothing
// is lost silently.
TEST_P(Emitted, IsTheSameModelOrRefused) {
    recipe::PlanKeys plan_config = plan_config_for(GetParam());
    if (GetParam().config.position_encoding == model::PositionEncoding::learned_absolute) {
        plan_config.dataset_constraints.sequence_length = GetParam().config.max_position_embeddings;
    }
    const BackwardPlan plan = plan_of(plan_config);
    const std::string reason = refusal([&] { return emit_planned_training(plan); });
    if (!reason.empty()) {
        EXPECT_THAT(reason, AllOf(HasSubstr("--emit-train-config"), HasSubstr("does not run")));
        return;
    }
    std::string keys = "{";
    const config::Document config = written(plan);
    for (const config::Member& member : config.root.as_object()) {
        if (!model::model_schema().resolve_path(member.key)) continue;
        keys += "\"" + member.key + "\": " + member.value.to_text() + ",";
    }
    const model::ModelConfig again = model::parse_model(keys + "}", "train.jsonc").config;
    EXPECT_EQ(model::parameter_layout(again).totals().by_component,
              plan.run.parameters.by_component);
    EXPECT_EQ(again.qkv_bias, plan.run.config.model.qkv_bias);
    EXPECT_EQ(again.attention_output_bias, plan.run.config.model.attention_output_bias);
    EXPECT_EQ(again.ffn_bias, plan.run.config.model.ffn_bias);
    EXPECT_EQ(again.activation, plan.run.config.model.activation);
    EXPECT_EQ(again.rotary_fraction, plan.run.config.model.rotary_fraction);
    EXPECT_EQ(again.rope_theta, plan.run.config.model.rope_theta);
    EXPECT_EQ(again.rope_scaling.has_value(), plan.run.config.model.rope_scaling.has_value());
    if (again.rope_scaling && plan.run.config.model.rope_scaling) {
        EXPECT_EQ(again.rope_scaling->type, plan.run.config.model.rope_scaling->type);
        EXPECT_EQ(again.rope_scaling->factor, plan.run.config.model.rope_scaling->factor);
        EXPECT_EQ(again.rope_scaling->low_freq_factor,
                  plan.run.config.model.rope_scaling->low_freq_factor);
        EXPECT_EQ(again.rope_scaling->high_freq_factor,
                  plan.run.config.model.rope_scaling->high_freq_factor);
        EXPECT_EQ(again.rope_scaling->original_max_position_embeddings,
                  plan.run.config.model.rope_scaling->original_max_position_embeddings);
    }
    EXPECT_EQ(again.norm_eps, plan.run.config.model.norm_eps);
}

TEST(TrainConfig, NamesTheGpuWhereTheRowIsThatOfTheBuiltinTable) {
    const auto gpu_of = [](const hardware::GpuTable& table) {
        const BackwardPlan plan = backward_plan(test::plan_config("flash"), table);
        const config::Document config = written(plan);
        return config.root.find("gpu_type") == nullptr ? std::string() : text(config, "gpu_type");
    };
    EXPECT_EQ(gpu_of(hardware::GpuTable::builtin()), "H100-SXM");
    const std::filesystem::path file = test::source_path("configs/gpus.jsonc");
    EXPECT_EQ(gpu_of(hardware::GpuTable::from_file(file)), "H100-SXM") << "the same rows";
    std::ifstream stream(file);
    std::string rows{std::istreambuf_iterator<char>(stream), {}};
    const std::size_t row = rows.find(R"("id": "H100-SXM")");
    const std::string key = "\"memory_bandwidth_gb_per_s\": 3350";
    const std::size_t bandwidth = rows.find(key, row);
    ASSERT_NE(bandwidth, std::string::npos);
    rows.replace(bandwidth, key.size(), "\"memory_bandwidth_gb_per_s\": 3349");
    EXPECT_EQ(gpu_of(hardware::GpuTable::from_text(rows, "gpus.jsonc")), "")
        << "another row of that name";
}

TEST(TrainConfig, RefusesWhatTheTrainerDoesNotRun) {
    const auto emit = [](const char* name) {
        return refusal([&] {
            return emit_planned_training(plan_of(plan_config_for(test::synthetic_model(name))));
        });
    };
    EXPECT_THAT(emit("experts"), HasSubstr("mixture of experts"));
    EXPECT_THAT(emit("latent_attention"), HasSubstr("mixture of experts"));
    EXPECT_THAT(emit("alternating_windows"), HasSubstr("four norms"));
    EXPECT_THAT(emit("parallel_residual"), HasSubstr("parallel"));
    EXPECT_THAT(emit("full_width_qk_norm"), HasSubstr("norms of both branches"));
    EXPECT_THAT(emit("sliding_window"), HasSubstr("sliding window"));
    EXPECT_THAT(
        refusal([] { return emit_planned_training(plan_of("flash", {"parallelism=zero2"})); }),
        HasSubstr("zero2"));
}

TEST(TrainConfig, RefusesLearnedPositionsBeyondTheContext) {
    recipe::PlanKeys config = plan_config_for(test::synthetic_model("plain_ffn_with_biases"));
    EXPECT_THAT(refusal([&] { return emit_planned_training(plan_of(config)); }),
                AllOf(HasSubstr("300 learned positions"), HasSubstr("context of 128")));
    config.dataset_constraints.sequence_length = 300;
    EXPECT_EQ(refusal([&] { return emit_planned_training(plan_of(config)); }), "");
}

TEST(TrainConfig, AcceptsAWindowThatTheContextDoesNotReach) {
    recipe::PlanKeys config = plan_config_for(test::synthetic_model("sliding_window"));
    config.dataset_constraints.sequence_length = 60;
    EXPECT_EQ(refusal([&] { return emit_planned_training(plan_of(config)); }), "");
}

}  // namespace
}  // namespace isoflop::planner
