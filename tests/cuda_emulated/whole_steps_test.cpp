// Whole training steps of the CUDA backend, run by the emulator, against the CPU backend: the same
// weights, tokens, masks and schedule. Tolerances are those of CUDA bf16 against the CPU: losses to
// 2e-3, gradients of the first step to 2e-2; fp32 agrees to rounding.
#include <gtest/gtest.h>

#include <ostream>
#include <thread>

#include "cuda_emulated/emulated_run.hpp"

namespace isoflop::emulated {
namespace {

struct StepCase {
    std::string name;
    Overrides overrides;
};

void PrintTo(const StepCase& step, std::ostream* out) {
    *out << step.name;
}

/// Small, with sizes that no tile divides.
Overrides model(const std::string& preset, Overrides more) {
    Overrides all = {
        "arch_preset=" + preset, "n_layer=2",    "n_head=2",        "n_embd=64",
        "vocab_size=257",        "block_size=9", "batch_size=2",    "warmup_iters=0",
        "max_iters=8",           "min_lr=0",     "eval_interval=0", "learning_rate=0.003",
        "reproducible=false"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

std::vector<StepCase> step_cases() {
    std::vector<StepCase> cases;
    const auto add = [&](const std::string& name, const std::string& preset, Overrides more) {
        for (const std::string dtype : {"float32", "bfloat16", "float16"}) {
            Overrides all = model(preset, more);
            all.push_back("dtype=" + dtype);
            cases.push_back({name + "_" + dtype, all});
        }
    };
    add("llama_manual", "llama", {"attention_backend=manual", "n_kv_head=1"});
    add("llama_recompute_block", "llama",
        {"attention_backend=manual", "recompute=block", "loss_chunk=7"});
    add("llama_recompute_attention_accumulated", "llama",
        {"attention_backend=manual", "recompute=attention", "gradient_accumulation_steps=2"});
    add("qwen3_manual", "qwen3", {"attention_backend=manual", "head_dim=32"});
    add("gpt2_manual", "gpt2",
        {"attention_backend=manual", "bias=true", "normalization=layernorm"});
    add("gpt2_dropout", "gpt2", {"attention_backend=manual", "dropout=0.2"});
    add("custom_post_norm", "custom",
        {"attention_backend=manual", "norm_position=post", "ffn_type=standard", "activation=relu"});
    return cases;
}

bool is_16_bit(const Overrides& overrides) {
    return std::find(overrides.begin(), overrides.end(), "dtype=float32") == overrides.end();
}

class WholeSteps : public ::testing::TestWithParam<StepCase> {};

TEST_P(WholeSteps, AgreeWithTheCpu) {
    const Overrides& overrides = GetParam().overrides;
    const bool coarse = is_16_bit(overrides);
    EmulatedRun gpu(overrides);
    ReferenceRun cpu(overrides);
    gpu.session.set_loss_scale(1024);  // of fp16: one that does not overflow
    const double scale = gpu.session.loss_scale();
    for (std::int64_t iteration = 0; iteration < 2; ++iteration) {
        const trainer::IterationOutcome on_gpu = gpu.iterate(iteration);
        const trainer::IterationOutcome on_cpu = cpu.iterate(iteration);
        EXPECT_FALSE(on_gpu.skipped);
        EXPECT_NEAR(on_gpu.loss / on_cpu.loss, 1, coarse ? 2e-3 : 1e-5) << iteration;
        EXPECT_NEAR(on_gpu.grad_norm / on_cpu.grad_norm, 1, coarse ? 2e-2 : 1e-4) << iteration;
        if (iteration > 0) continue;
        std::vector<float> gradients = gpu.gradients();
        for (float& each : gradients) each /= static_cast<float>(scale);
        EXPECT_LE(relative_error(gradients, cpu.gradients()), coarse ? 2e-2 : 1e-5);
    }
}

TEST_P(WholeSteps, AllocateAndMultiplyWhatIsPlanned) {
    EmulatedRun run(GetParam().overrides);
    device::ProductRecorder recorder;
    run.session.context().recorder = &recorder;
    (void)run.iterate(0);
    const trainer::RunPlan& plan = run.session.plan();
    EXPECT_DOUBLE_EQ(
        static_cast<double>(recorder.total_flops()),
        plan.executed_flops_per_token * static_cast<double>(plan.config.tokens_per_iteration));
    EXPECT_EQ(run.device.memory_use().used_bytes(), plan.memory.arena_bytes);
}

INSTANTIATE_TEST_SUITE_P(Choices, WholeSteps, ::testing::ValuesIn(step_cases()),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace isoflop::emulated
