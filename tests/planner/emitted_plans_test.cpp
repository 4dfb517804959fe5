// A plan, its training config, and what the trainer's reader makes of it: the same run, or a
// refusal with the name of what the trainer lacks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "isoflop/model/trainable.hpp"
#include "isoflop/planner/planned_training.hpp"
#include "isoflop/recipe/run_plan.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

using recipe::Recipe;
using recipe::RunPlan;
using test::plan_of;
using test::refusal;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// As `train` plans the config on the machines that the plan is for.
RunPlan run_of(const std::string& text, std::int64_t world_size) {
    Recipe read = recipe::recipe_of(recipe::parse_train_keys(text, "train.jsonc"),
                                    {world_size, cost::DeviceKind::cuda});
    recipe::AttentionResolution attention = recipe::resolve_attention(read);
    return recipe::plan_run(std::move(read), std::move(attention));
}

void expect_same_run(const BackwardPlan& plan, const std::string& text) {
    const RunPlan run = run_of(text, plan.run.config.execution.world_size);
    EXPECT_TRUE(recipe::same_execution(run.config.execution, plan.run.config.execution));
    EXPECT_EQ(run.attention.explanation(), "as requested");
    EXPECT_EQ(run.config.optimizer, plan.run.config.optimizer);
    EXPECT_EQ(run.config.max_iters, static_cast<std::int64_t>(plan.schedule.steps));
    EXPECT_EQ(static_cast<double>(run.config.tokens_per_iteration), plan.schedule.tokens_per_step);
    EXPECT_EQ(run.parameters.total, plan.run.parameters.total);
    EXPECT_EQ(run.parameters.by_component, plan.run.parameters.by_component);
    EXPECT_EQ(run.exact_flops_per_token, plan.run.exact_flops_per_token);
    EXPECT_EQ(run.config.keys.run.flop_convention, plan.budget.convention);
    EXPECT_EQ(run.model_flops_per_token, plan.run.model_flops_per_token);
    // Plans count the tiles that kernels with a window would visit, even when the context does not
    // reach it; the run has no window.
    if (!plan.run.config.model.sliding_window) {
        EXPECT_EQ(
            run.executed_flops_per_token,
            plan.run
                .convention_flops_per_token[static_cast<std::size_t>(cost::Convention::executed)]);
    }
    EXPECT_EQ(run.memory.total_bytes(), plan.run.memory.total_bytes());
    EXPECT_EQ(run.memory.peak_by_category(), plan.run.memory.peak_by_category());
    EXPECT_EQ(cost::total_bytes_sent(run.traffic), cost::total_bytes_sent(plan.run.traffic));
}

TEST(EmittedPlans, EveryShippedPlanIsTheRunThatTrainReads) {
    for (const auto& path : test::shipped_plans()) {
        SCOPED_TRACE(path);
        const BackwardPlan plan = plan_of(recipe::read_plan_keys(path));
        expect_same_run(plan, emit_planned_training(plan));
    }
}

struct Generator {
    std::mt19937_64 random{20261130};

    std::int64_t below(std::int64_t bound) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
    }
    template <class T>
    T one_of(std::initializer_list<T> values) {
        return values.begin()[below(static_cast<std::int64_t>(values.size()))];
    }

    recipe::PlanKeys plan(const std::vector<test::NamedModel>& models) {
        const test::NamedModel& named =
            models[static_cast<std::size_t>(below(static_cast<std::int64_t>(models.size())))];
        recipe::PlanKeys keys = test::plan_config_for(named);
        keys.training_gear.num_gpus = one_of<std::int64_t>({1, 2, 3, 8, 24, 512});
        keys.training_gear.dtype =
            one_of({DType::bfloat16, DType::bfloat16, DType::bfloat16, DType::float16,
                    DType::float32, DType::tf32, DType::float8, DType::float4});
        keys.training_gear.peak_flops_per_gpu = 1e12;
        keys.training_gear.available_hours = one_of({0.01, 1.0, 24.0});
        recipe::TrainingEfficiency& efficiency = keys.training_efficiency;
        efficiency.flop_convention =
            one_of({cost::Convention::exact, cost::Convention::palm, cost::Convention::megatron,
                    cost::Convention::titan, cost::Convention::kaplan, cost::Convention::six_nd});
        efficiency.batch_size = 1 + below(12);
        efficiency.gradient_accumulation_steps = 1 + below(5);
        efficiency.attention_backend =
            one_of({cost::AttentionBackend::flash_attn_2, cost::AttentionBackend::sdpa,
                    cost::AttentionBackend::manual});
        efficiency.recompute =
            one_of({cost::Recompute::none, cost::Recompute::attention, cost::Recompute::block});
        efficiency.parallelism =
            one_of({cost::Parallelism::ddp, cost::Parallelism::zero1, cost::Parallelism::fsdp,
                    cost::Parallelism::fsdp, cost::Parallelism::zero2});
        efficiency.gradient_dtype = one_of<std::optional<DType>>(
            {std::nullopt, std::nullopt, std::nullopt, DType::bfloat16, DType::float32});
        efficiency.loss_chunk = one_of<std::optional<std::int64_t>>({std::nullopt, 0, 64, 1000});
        keys.dataset_constraints.sequence_length = one_of<std::int64_t>({16, 60, 128, 300});
        return keys;
    }
};

/// The words with which a refusal must name what the trainer lacks; empty when it lacks nothing.
std::string missing(const BackwardPlan& plan) {
    const cost::Execution& execution = plan.run.config.execution;
    if (const std::string reason =
            model::untrainable_reason(plan.run.config.model, execution.sequence_length);
        !reason.empty()) {
        return reason;
    }
    // The files of a Hugging Face model say these, the keys of a training config do not.
    const model::ModelConfig& config = plan.run.config.model;
    if (config.norm_position == model::NormPosition::sandwich) return "four norms";
    if (model::norms_branches(config)) return "norms of both branches";
    if (config.parallel_residual) return "parallel attention";
    if (config.qk_norm == model::QkNorm::full_width) return "QK norm";
    if (config.num_window_layers() > 0 && *config.sliding_window < execution.sequence_length)
        return "sliding window";
    if (config.norms_add_one) return "scaled embeddings";
    if (config.rotary_fraction != 1 || config.interleaved_rotary) return "rotary positions";
    if (config.naming != model::TensorNaming::llama && config.naming != model::TensorNaming::gpt2)
        return "tensors of type";
    if (plan.run.config.model.position_encoding == model::PositionEncoding::learned_absolute &&
        plan.run.config.model.max_position_embeddings != execution.sequence_length) {
        return "learned positions";
    }
    if (plan.run.config.model.rope_scaling && plan.run.config.model.rope_scaling->type != "llama3")
        return "rope_scaling";
    if (plan.run.config.model.qkv_bias != plan.run.config.model.attention_output_bias)
        return "biases on queries";
    if (execution.parallelism == cost::Parallelism::zero2) return "zero2";
    if (execution.dtype == DType::float8) return "dtype float8";
    if (execution.dtype == DType::float4) return "dtype float4";
    if (execution.gradient_dtype.value_or(execution.storage_dtype()) != execution.storage_dtype())
        return "gradient_dtype";
    return {};
}

TEST(EmittedPlans, GeneratedPlansAreTheRunThatTrainReadsOrRefusedByName) {
    Generator generator;
    const std::vector<test::NamedModel> models = test::all_models();
    int emitted = 0;
    int refused = 0;
    int fused = 0;
    int fallen_back = 0;
    int of_other_types = 0;
    int of_other_sizes = 0;
    while (emitted < 300) {
        ASSERT_LT(emitted + refused, 10000);
        const BackwardPlan plan = plan_of(generator.plan(models));
        SCOPED_TRACE(model::summary_name(plan.run.config.model) + " " +
                     std::to_string(emitted + refused));
        const std::string reason = missing(plan);
        if (!reason.empty()) {
            ++refused;
            EXPECT_THAT(refusal([&] { return emit_planned_training(plan); }),
                        AllOf(HasSubstr("--emit-train-config"), HasSubstr(reason)));
            continue;
        }
        ++emitted;
        fused += plan.run.attention.used == cost::AttentionBackend::manual ? 0 : 1;
        if (plan.run.attention.fell_back()) {
            ++fallen_back;
            of_other_types += plan.run.config.execution.has_master_weights() ? 0 : 1;
            of_other_sizes += plan.run.config.model.head_dim == 80 ? 1 : 0;
        }
        expect_same_run(plan, emit_planned_training(plan));
        if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(refused, 300);
    EXPECT_GT(fused, 30);
    EXPECT_GT(fallen_back, 30);
    EXPECT_GT(of_other_types, 10);
    EXPECT_GT(of_other_sizes, 5);
}

TEST(EmittedPlans, PrecisionsThatTheTrainerLacksAreRefused) {
    EXPECT_THAT(refusal([] { return emit_planned_training(plan_of("flash", {"dtype=fp8"})); }),
                HasSubstr("dtype float8"));
    EXPECT_THAT(refusal([] {
                    return emit_planned_training(plan_of("flash", {"gpu_type=B200", "dtype=fp4"}));
                }),
                HasSubstr("dtype float4"));
    EXPECT_THAT(
        refusal([] { return emit_planned_training(plan_of("flash", {"gradient_dtype=float32"})); }),
        HasSubstr("gradient_dtype float32"));
    EXPECT_EQ(refusal([] {
                  return emit_planned_training(plan_of("flash", {"gradient_dtype=bfloat16"}));
              }),
              "");
}

TEST(EmittedPlans, Tf32StaysTf32) {
    const BackwardPlan plan = plan_of("flash", {"dtype=tf32"});
    EXPECT_THAT(emit_planned_training(plan), HasSubstr(R"("dtype": "tf32")"));
}

TEST(EmittedPlans, SayTheBackendThatRunsAndWhy) {
    const std::string text = emit_planned_training(plan_of("flash", {"dtype=tf32"}));
    EXPECT_THAT(text, HasSubstr(R"("attention_backend": "manual")"));
    EXPECT_THAT(text, HasSubstr("// attention runs with manual instead of flash_attn_2"));
    EXPECT_THAT(
        emit_planned_training(plan_of("flash")),
        AllOf(HasSubstr(R"("attention_backend": "flash_attn_2")"), Not(HasSubstr("instead of"))));
}

TEST(EmittedPlans, WhatATrainingConfigCannotSayIsRefused) {
    const BackwardPlan plan =
        plan_of("flash", {"num_gpus=1000000", "gradient_accumulation_steps=1000"});
    EXPECT_THAT(refusal([&] { return emit_planned_training(plan); }),
                AllOf(HasSubstr("--emit-train-config"), HasSubstr("gradient_accumulation_steps")));
}

// A CPU runs the same file, in float32: the plan's own device is a GPU, which auto takes.
TEST(EmittedPlans, RunOnACpuUnchanged) {
    const std::string text = emit_planned_training(plan_of("flash"));
    EXPECT_THAT(text, HasSubstr(R"("device": "auto")"));
    const Recipe here = recipe::recipe_of(recipe::parse_train_keys(text, "train.jsonc"),
                                          {8, cost::DeviceKind::cpu});
    EXPECT_EQ(here.execution.device, cost::DeviceKind::cpu);
    EXPECT_EQ(here.execution.dtype, DType::float32);
}

}  // namespace
}  // namespace isoflop::planner
