// Whole training steps of the CUDA backend, on the emulated device or a real one, against the CPU
// backend: the same weights, tokens, masks and schedule. Tolerances are those of CUDA bf16 against
// the CPU: losses to 2e-3, gradients of the first step to 2e-2; fp32 agrees to rounding.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "isoflop/checkpoint/checkpoint.hpp"
#include "trainer/cuda/device_run.hpp"

namespace isoflop::testing {
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
    add("llama_flash", "llama", {"head_dim=32", "n_kv_head=1", "block_size=17"});
    add("llama_stochastic_rounding", "llama",
        {"head_dim=32", "n_layer=1", "stochastic_rounding=true"});
    add("qwen3_flash_recompute_block", "qwen3", {"head_dim=64", "recompute=block"});
    add("gpt2_flash_recompute_attention", "gpt2",
        {"recompute=attention", "bias=true", "gradient_accumulation_steps=2"});
    add("llama_sdpa", "llama",
        {"attention_backend=sdpa", "head_dim=32", "n_kv_head=1", "block_size=17"});
    add("llama_manual_in_chunks", "llama",
        {"attention_backend=manual", "n_head=4", "n_kv_head=2", "manual_head_chunk=1",
         "block_size=45"});
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

class WholeSteps : public ::testing::TestWithParam<StepCase> {
protected:
    void SetUp() override {
        const device::DeviceCount count = device::count_gpus();
        if (count.devices == 0) GTEST_SKIP() << count.reason;
    }
};

TEST_P(WholeSteps, AgreeWithTheCpu) {
    const Overrides& overrides = GetParam().overrides;
    const bool coarse = is_16_bit(overrides);
    DeviceRun gpu(overrides);
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
    DeviceRun run(GetParam().overrides);
    device::ProductRecorder recorder;
    run.session.context().recorder = &recorder;
    (void)run.iterate(0);
    const recipe::RunPlan& plan = run.session.plan();
    EXPECT_DOUBLE_EQ(
        static_cast<double>(recorder.total_flops()),
        plan.executed_flops_per_token * static_cast<double>(plan.config.tokens_per_iteration));
    EXPECT_EQ(run.session.memory().bytes(), plan.memory.arena_bytes);
    const std::uint64_t handed_out = run.session.memory().high_water_bytes();
    EXPECT_LE(handed_out, plan.memory.arena_bytes);
    EXPECT_LT(plan.memory.arena_bytes - handed_out, cost::kBufferAlignment);
}

// 16-bit weights are rounded master weights, and those are what a checkpoint holds: a run that goes
// on from one has the bits of a run that never stopped.
TEST_P(WholeSteps, GoOnFromACheckpointBitForBit) {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() /
        ("isoflop_whole_steps_" + std::to_string(getpid()) + GetParam().name);
    DeviceRun whole(GetParam().overrides);
    (void)whole.iterate(0);
    const nlohmann::ordered_json state{{"iter", 1}};
    (void)checkpoint::write_checkpoint(folder, 1, whole.session.weight_tensors(),
                                       whole.session.optimizer_tensors(), state, {});
    const trainer::IterationOutcome uninterrupted = whole.iterate(1);

    DeviceRun resumed(GetParam().overrides);
    resumed.session.load(*checkpoint::open_latest(folder, {}), 1);
    resumed.session.set_loss_scale(whole.session.loss_scale());
    const trainer::IterationOutcome outcome = resumed.iterate(1);
    EXPECT_EQ(outcome.loss, uninterrupted.loss);
    EXPECT_EQ(outcome.grad_norm, uninterrupted.grad_norm);
    EXPECT_EQ(resumed.gradients(), whole.gradients());
    std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Choices, WholeSteps, ::testing::ValuesIn(step_cases()),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(StochasticRoundingOfARun, ReachesTheWeights) {
    const device::DeviceCount count = device::count_gpus();
    if (count.devices == 0) GTEST_SKIP() << count.reason;
    const auto second_loss = [](const std::string& key) {
        DeviceRun run(model("llama", {"head_dim=32", "n_layer=1", "dtype=bfloat16", key}));
        (void)run.iterate(0);
        return run.iterate(1).loss;
    };
    const double to_nearest = second_loss("stochastic_rounding=false");
    EXPECT_NE(second_loss("stochastic_rounding=true"), to_nearest);
    EXPECT_NEAR(second_loss("stochastic_rounding=true") / to_nearest, 1, 2e-3);
}

TEST(Fp16, HalvesTheLossScaleOnOverflowAndLeavesWeightsAlone) {
    const device::DeviceCount count = device::count_gpus();
    if (count.devices == 0) GTEST_SKIP() << count.reason;
    Overrides overrides = model("llama", {"attention_backend=manual", "dtype=float16"});
    DeviceRun run(overrides);
    run.session.set_loss_scale(16777216);  // gradients of about 0.1 are beyond 65504 then
    const auto before = run.session.weight_tensors();
    const trainer::IterationOutcome outcome = run.iterate(0);
    EXPECT_TRUE(outcome.skipped);
    EXPECT_TRUE(outcome.overflowed);
    EXPECT_EQ(run.session.loss_scale(), 8388608);
    EXPECT_EQ(run.session.updates(), 0);
    const auto after = run.session.weight_tensors();
    for (std::size_t i = 0; i < before.size(); ++i) {
        const std::span<float> a = before[i].data.as<float>();
        const std::span<float> b = after[i].data.as<float>();
        EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << before[i].name;
    }
}

}  // namespace
}  // namespace isoflop::testing
