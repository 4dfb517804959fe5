// The defects of the earlier Python trainer, by number, as far as a library test can catch one;
// earlier_trainer_test.py has those that need a whole run. Number 13 (evaluation on one rank while
// the others wait) needs several ranks: until there are any, what would shard is refused.
#include <gmock/gmock.h>

#include <cmath>

#include "comm/local_ranks.hpp"
#include "data/data_test_support.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/run_log/compare.hpp"
#include "isoflop/trainer/initialization.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_log/run_log_test_support.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

class EarlierTrainer : public run_log::RunLogTest {};

std::string refusal_of(const Overrides& overrides) {
    try {
        static_cast<void>(plan_of(overrides));
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "nothing was refused";
}

TEST_F(EarlierTrainer, Defect01_OverriddenWidthKeptTheFfnSizeOfThePreset) {
    const auto ffn = [](Overrides overrides) {
        return config_of(std::move(overrides)).model.intermediate_size;
    };
    EXPECT_EQ(ffn({"arch_preset=gpt2", "n_embd=36"}), 4 * 36);
    EXPECT_EQ(ffn({"arch_preset=llama", "n_embd=384", "n_head=6"}), 1024);
    EXPECT_EQ(ffn({"arch_preset=gpt2", "n_embd=36", "ffn_expansion_ratio=2.5"}), 90);
    EXPECT_EQ(ffn({"arch_preset=gpt2", "n_embd=36", "ffn_expansion_ratio=2.5", "d_ff=50"}), 50);
    EXPECT_EQ(ffn({"arch_preset=gpt2"}), 3072);
    EXPECT_EQ(ffn({"arch_preset=llama"}), 2048);
}

TEST_F(EarlierTrainer, Defect02_ChoicesWereIgnoredBesideAPreset) {
    const model::ModelConfig model =
        config_of({"arch_preset=llama", "normalization=layernorm", "activation=relu",
                   "position_encoding=learned_absolute", "norm_position=post", "ffn_type=standard",
                   "weight_tying=true", "bias=true"})
            .model;
    EXPECT_EQ(model.preset, "llama") << "presets stay presets";
    EXPECT_EQ(model.normalization, model::Normalization::layernorm);
    EXPECT_EQ(model.activation, model::Activation::relu);
    EXPECT_EQ(model.position_encoding, model::PositionEncoding::learned_absolute);
    EXPECT_EQ(model.norm_position, model::NormPosition::post);
    EXPECT_EQ(model.ffn_type, model::FfnType::standard);
    EXPECT_TRUE(model.tie_word_embeddings);
    EXPECT_TRUE(model.qkv_bias && model.attention_output_bias && model.ffn_bias);
    EXPECT_EQ(plan_of({"arch_preset=llama", "attention_backend=manual"}).attention.used,
              cost::AttentionBackend::manual);
}

TEST_F(EarlierTrainer, Defect03_FlashAttentionCrashedAtTheFirstForward) {
    for (const char* preset : {"gpt2", "llama", "hybrid", "custom"}) {
        TestRun run(tiny_run({std::string("arch_preset=") + preset}));
        ASSERT_EQ(run.session.plan().attention.used, cost::AttentionBackend::flash_attn_2);
        EXPECT_NEAR(run.iterate(0).loss, std::log(257), 0.3) << preset;
    }
}

TEST_F(EarlierTrainer, Defect04_ReportNamedABackendThatDidNotRun) {
    const recipe::RunPlan plan =
        plan_of(tiny_run({"attention_backend=flash_attn_2", "disable_backends=flash_attn_2,sdpa"}));
    EXPECT_NE(plan.memory.find(cost::BufferId::attention_probabilities), nullptr)
        << "manual is what runs";
    Hardware hardware;
    hardware.peak_flops = 1e11;
    EXPECT_THAT(startup_text(plan, hardware, MemoryVerdict{}, text::Colour::off),
                testing::ContainsRegex("Attention backend +manual +requested flash_attn_2: "));
    EXPECT_EQ(startup_record(plan, hardware).requested_backend, "flash_attn_2");
    EXPECT_EQ(startup_record(plan, hardware).used_backend, "manual");
}

// GPT-2's shape: H 768, F 4 H, S 1024, L 12. Per token and layer, forward: 8 H^2 for the
// projections, 4 S H for scores and values, 16 H^2 for the FFN.
TEST_F(EarlierTrainer, Defect05_ScoresWereCountedForEveryHeadAndTheHeadNotAtAll) {
    const recipe::RunPlan plan = plan_of({"arch_preset=gpt2"});
    constexpr double H = 768;
    constexpr double S = 1024;
    EXPECT_EQ(plan.attention_flops_per_layer, 8 * H * H + 4 * S * H);
    EXPECT_EQ(plan.ffn_flops_per_layer, 16 * H * H);
    EXPECT_NEAR(plan.attention_flops_per_layer / plan.ffn_flops_per_layer, 0.83, 0.01);
    const double attention = 12 * 12 * H * S;
    EXPECT_EQ(plan.exact_flops_per_token, 6 * (12 * 12 * H * H + 50304 * H) + attention)
        << "the head is the tied embedding";
    EXPECT_EQ(plan.model_flops_per_token, plan.exact_flops_per_token);
    EXPECT_EQ(plan_of({"arch_preset=gpt2", "flop_convention=palm"}).model_flops_per_token,
              6 * static_cast<double>(plan.parameters.total) + attention);
}

TEST_F(EarlierTrainer, Defect06_TokensOfOneRankWereSetAgainstThePeakOfAll) {
    for (const std::int64_t ranks : {1, 2, 4, 8}) {
        const recipe::Recipe config =
            config_of(tiny_run({"gradient_accumulation_steps=8", "batch_size=3"}), ranks);
        EXPECT_EQ(config.micro_steps, 8 / ranks) << "the key is global";
        EXPECT_EQ(config.tokens_per_iteration, 8 * 3 * 16) << "over all ranks";
    }
    try {
        static_cast<void>(config_of(tiny_run({"gradient_accumulation_steps=8"}), 3));
        FAIL() << "8 micro-batches do not divide by 3 ranks";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("total_batch_tokens"));
    }
}

TEST_F(EarlierTrainer, Defect07_PeaksWereSparseAndUnknownGpusWereCalledA100) {
    const auto& table = hardware::GpuTable::builtin();
    const auto bf16 = [&](const char* name) {
        return table.at(name).dense_peak_flops[static_cast<std::size_t>(DType::bfloat16)];
    };
    EXPECT_EQ(bf16("H200"), 989.4e12);
    EXPECT_EQ(bf16("B200"), 2250e12);
    EXPECT_THROW(static_cast<void>(table.at("a CPU")), ConfigError);
}

TEST_F(EarlierTrainer, Defect08_GradientStatisticsWereTakenAfterTheGradientsWereGone) {
    TestRun run(tiny_run());
    EXPECT_FALSE(run.iterate(0, false).gradients.has_value());
    const IterationOutcome outcome = run.iterate(1, true);
    ASSERT_TRUE(outcome.gradients.has_value());
    const run_log::GradientRecord& gradients = *outcome.gradients;
    EXPECT_EQ(gradients.global_norm, outcome.grad_norm);
    EXPECT_GT(gradients.global_norm, 0);
    EXPECT_GT(gradients.min_layer_norm, 0);
    EXPECT_LE(gradients.min_layer_norm, gradients.mean_layer_norm);
    EXPECT_LE(gradients.mean_layer_norm, gradients.max_layer_norm);
    EXPECT_GT(gradients.grad_std, 0);
    EXPECT_LT(gradients.grad_min, gradients.grad_mean);
    EXPECT_LT(gradients.grad_mean, gradients.grad_max);
}

TEST_F(EarlierTrainer, Defect09_Gpt2WasPostNorm) {
    EXPECT_EQ(config_of({"arch_preset=gpt2"}).model.norm_position, model::NormPosition::pre);
    EXPECT_EQ(config_of({}).model.norm_position, model::NormPosition::pre);
    EXPECT_EQ(config_of({}).model.preset, "gpt2") << "the default";
}

TEST_F(EarlierTrainer, Defect10_SecondFfnMatrixMissedItsScaledInitialisation) {
    for (const char* naming : {"arch_preset=gpt2", "arch_preset=hybrid", "arch_preset=llama"}) {
        const recipe::RunPlan plan = plan_of(
            {naming, "n_layer=3", "n_head=4", "n_embd=64", "vocab_size=257", "block_size=16"});
        device::ThreadPool pool(1);
        Session session(plan, pool);
        session.initialize_from_scratch();
        const device::HostTensor whole = session.whole_weights();
        const std::span<const float> weights = whole.view.as<float>();
        int scaled = 0;
        for (const cost::StateTensor& tensor : plan.state.tensors) {
            if (!tensor.spec.is_matrix()) continue;
            double squares = 0;
            for (std::int64_t i = 0; i < tensor.spec.elements(); ++i) {
                const double value = weights[tensor.offset + static_cast<std::uint64_t>(i)];
                squares += value * value;
            }
            const double deviation =
                std::sqrt(squares / static_cast<double>(tensor.spec.elements()));
            // 4096 or more draws: 5 % is four standard errors of the deviation. Learned positions
            // have 1024.
            if (std::abs(deviation / (0.02 / std::sqrt(6.0)) - 1) < 0.05) {
                ++scaled;
            } else {
                EXPECT_NEAR(deviation / 0.02, 1, 0.1) << tensor.name;
            }
        }
        EXPECT_EQ(scaled, 2 * 3) << "attention output and FFN output of each layer, " << naming;
    }
}

TEST_F(EarlierTrainer, Defect11_MomentsWereBf16AndThereWasNoMasterCopy) {
    recipe::Recipe config = config_of(tiny_run({"dtype=bfloat16"}));
    EXPECT_EQ(config.execution.dtype, DType::float32) << "what a CPU runs";
    config.execution.device = cost::DeviceKind::cuda;
    config.execution.dtype = DType::bfloat16;
    const auto layout = model::parameter_layout(config.model);
    const auto plan = cost::memory_plan(config.model, layout, config.execution, *config.optimizer);
    const auto bytes = plan.peak_by_category();
    const auto of = [&](cost::MemoryCategory category) {
        return bytes[static_cast<std::size_t>(category)];
    };
    EXPECT_EQ(of(cost::MemoryCategory::master_weights), 2 * of(cost::MemoryCategory::weights));
    EXPECT_EQ(of(cost::MemoryCategory::optimizer_moments), 4 * of(cost::MemoryCategory::weights));
}

TEST_F(EarlierTrainer, Defect12_DefaultsCrashedOnACpu) {
    const recipe::Recipe defaults = config_of({});
    EXPECT_EQ(defaults.execution.device, cost::DeviceKind::cpu);
    EXPECT_EQ(defaults.execution.dtype, DType::float32);
    const recipe::Recipe half = config_of({"dtype=float16"});
    EXPECT_EQ(half.execution.dtype, DType::float32);
    EXPECT_THAT(half.dtype_note, HasSubstr("runs as float32"));
}

TEST_F(EarlierTrainer, Defect13_ShardedRunsHungInEvaluation) {
    const auto validation = data::TokenDataset::open("builtin", data::Split::validation);
    for (const char* strategy : {"use_fsdp=true", "use_zero1=true"}) {
        auto group = comm::make_local_group(2, comm::kTestTimeoutSeconds);
        comm::run_threads(2, [&](int rank) {
            TestRun run(tiny_run({strategy}), std::move(group[static_cast<std::size_t>(rank)]));
            (void)run.iterate(0);
            // Five micro-batches for two ranks: one of them has nothing to evaluate in the last
            // round.
            const data::EvalSampler windows(validation, 16);
            EXPECT_EQ(run.session.evaluate_windows(windows, 0, 10).targets, 160) << strategy;
            (void)run.iterate(1);
            run.session.synchronize();  // the others still need what this rank sends
        });
    }
    EXPECT_THAT(refusal_of(tiny_run({"use_fsdp=true", "use_zero1=true"})), HasSubstr("give one"));
}

// ShardedCheckpoint.AnyNumberOfRanksGivesTheSameTensors has the rest.
TEST_F(EarlierTrainer, Defect14_OptimizerStateLoadedOnlyAtItsOwnWorldSize) {
    TestRun run(tiny_run());
    const auto weights = run.session.weight_tensors();
    const auto moments = run.session.optimizer_tensors();
    ASSERT_EQ(moments.size(), 2 * weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const checkpoint::NamedTensor& second = moments[weights.size() + i];
        EXPECT_EQ(moments[i].name, "exp_avg." + weights[i].name);
        EXPECT_EQ(second.name, "exp_avg_sq." + weights[i].name);
        EXPECT_EQ(moments[i].shape, weights[i].shape) << "whole tensors, not a rank's flat share";
        EXPECT_EQ(second.shape, weights[i].shape);
    }
}

TEST_F(EarlierTrainer, Defect15_ResumedRunsSawOtherBatchesAndHadAnotherLoss) {
    const Overrides overrides = tiny_run({"dropout=0.1", "learning_rate=1e-2"});
    TestRun whole(overrides);
    std::vector<double> losses;
    for (std::int64_t i = 0; i < 6; ++i) losses.push_back(whole.iterate(i).loss);
    TestRun first(overrides);
    for (std::int64_t i = 0; i < 3; ++i) first.iterate(i);
    const auto step = checkpoint::write_checkpoint(folder(), 3, first.session.weight_tensors(),
                                                   first.session.optimizer_tensors(),
                                                   nlohmann::ordered_json::object());
    TestRun resumed(overrides);
    resumed.session.load(checkpoint::CheckpointReader::open(step), first.session.updates());
    for (std::int64_t i = 3; i < 6; ++i) {
        EXPECT_EQ(resumed.iterate(i).loss, losses[static_cast<std::size_t>(i)]) << i;
    }
    EXPECT_NE(losses[3], losses[0]) << "the data go on";
}

TEST_F(EarlierTrainer, Defect19_IntegersForFloatsAndEqualsSignsWereRefused) {
    const recipe::TrainKeys keys = recipe::train_keys_from(
        Overrides{"learning_rate=1", "weight_decay=0", "out_dir=a=b", "bias=True", "d_ff=None"});
    EXPECT_EQ(keys.optimizer.learning_rate, 1.0);
    EXPECT_EQ(keys.optimizer.weight_decay, 0.0);
    EXPECT_EQ(keys.run.out_dir, "a=b");
    EXPECT_EQ(keys.model.bias, true);
    EXPECT_EQ(keys.model.intermediate_size, std::nullopt);
    EXPECT_THAT(refusal_of({"learning_rate=a=b"}),
                HasSubstr("learning_rate must be a number > 0 and <= 100; found \"a=b\""));
    EXPECT_THAT(refusal_of({"max_iters=3.5"}), HasSubstr("max_iters must be an integer"));
}

TEST_F(EarlierTrainer, Defect20_LogWasLostSinceTheLastSave) {
    run_log::RunLog log = run_log::example_log(folder() / "run", {.log_save_interval = 1000});
    for (std::int64_t iter = 0; iter < 7; ++iter) log.add(run_log::example_iteration(iter));
    // Neither flushed nor finished, as after a crash.
    const auto document =
        nlohmann::ordered_json::parse(run_log::derive_run_json(log.metrics_path()));
    EXPECT_EQ(document["training_iterations"].size(), 7U) << "every iteration, at any log_interval";
    const run_log::Comparison comparison = run_log::compare_runs(std::vector{folder() / "run"});
    EXPECT_EQ(comparison.runs.at(0).iterations, 7);
}

TEST_F(EarlierTrainer, Defect21_CompareShowedDefaultsInsteadOfTheArchitecture) {
    const auto architecture = [&](const std::string& name, Overrides overrides) {
        const recipe::RunPlan plan = plan_of(tiny_run(std::move(overrides)));
        run_log::RunLog log =
            run_log::RunLog::create(folder() / name, name, config_record(plan),
                                    run_log::example_metadata(), run_log::example_startup());
        log.finish(run_log::EndState::finished);
        return run_log::compare_runs(std::vector{folder() / name}).runs.at(0).architecture;
    };
    EXPECT_EQ(architecture("a", {"arch_preset=llama"}), "llama(rmsnorm/rope/swiglu)");
    EXPECT_EQ(architecture("b", {}), "gpt2(layernorm_nobias/learned_absolute/standard)");
    EXPECT_EQ(architecture("c", {"arch_preset=custom"}), "custom(rmsnorm/rope/swiglu)");
    EXPECT_EQ(architecture("d", {"arch_preset=llama", "normalization=layernorm",
                                 "position_encoding=none", "ffn_type=standard"}),
              "llama(layernorm/none/standard)");
}

TEST_F(EarlierTrainer, Defect22_TokensWereSixteenBitsWideAndNotChecked) {
    const auto file = folder() / "large.bin";
    test::write_shard(file, {69'999, 65'536, 3, 4}, 70'000);
    auto data = data::TokenDataset::open(file.string(), data::Split::train);
    EXPECT_EQ(data.vocab_size(), 70'000) << "the file says it; nothing is unpickled";
    std::vector<std::int32_t> tokens(4);
    data.copy(0, 0, tokens);
    EXPECT_EQ(tokens, (std::vector<std::int32_t>{69'999, 65'536, 3, 4}));
    EXPECT_THROW(data.set_model_vocab_size(50'304), ConfigError);
    test::write_file(folder() / "bare.bin",
                     test::bytes_of<std::uint16_t>(std::vector<int>{1, 50'400, 3}));
    auto bare = data::TokenDataset::open((folder() / "bare.bin").string(), data::Split::train);
    bare.set_model_vocab_size(50'304);
    EXPECT_THROW(bare.copy(0, 0, std::span(tokens).first(3)), IoError);
}

TEST_F(EarlierTrainer, Defect23_GatedFfnWasNotAlignedAndOddHeadsWereOnlyAsserted) {
    const auto model = config_of({"arch_preset=llama", "n_embd=1000", "n_head=10"}).model;
    EXPECT_EQ(model.intermediate_size, 2688) << "int(8 x 1000 / 3) is 2666";
    EXPECT_THAT(refusal_of({"arch_preset=llama", "n_embd=60", "n_head=4"}), HasSubstr("head_dim"));
}

TEST_F(EarlierTrainer, Defect24_LossWasThatOfTheLastMicroBatch) {
    TestRun run(tiny_run({"batch_size=1", "gradient_accumulation_steps=4"}));
    const double all = run.session.evaluate_samples(run.samples, 0, 4).mean();
    const double last = run.session.evaluate_samples(run.samples, 3, 1).mean();
    const double loss = run.iterate(0).loss;
    EXPECT_NEAR(loss, all, 1e-6 * all);  // the same fp32 losses, summed in double
    EXPECT_GT(std::abs(loss - last), 1e-3);
}

TEST_F(EarlierTrainer, Defect25_ManualAttentionKeptAMaskForEveryLayer) {
    const recipe::RunPlan plan =
        plan_of({"arch_preset=llama", "attention_backend=manual", "n_layer=3", "n_head=4",
                 "n_embd=32", "vocab_size=257", "block_size=256", "batch_size=2"});
    constexpr std::uint64_t kScores = 2 * 4 * 256 * 256 * 4;
    std::vector<std::string> large;
    for (const cost::Buffer& buffer : plan.memory.buffers) {
        if (buffer.lifetime != cost::Lifetime::persistent && buffer.bytes_each * 8 >= kScores * 7)
            large.push_back(std::string(buffer.name()) + " x " + std::to_string(buffer.count));
    }
    EXPECT_THAT(large,
                UnorderedElementsAre("attention.probabilities x 3", "grad.attention.scores x 1"));
}

}  // namespace
}  // namespace isoflop::trainer
