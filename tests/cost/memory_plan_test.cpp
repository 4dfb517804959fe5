// The memory plan: its arithmetic against closed forms, and the layout of the arena against its own
// promises.
#include "isoflop/cost/memory_plan.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "isoflop/cost/communication.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::cost {
namespace {

using model::ModelConfig;
using test::NamedModel;

constexpr AttentionBackend kBackends[] = {AttentionBackend::manual, AttentionBackend::sdpa,
                                          AttentionBackend::flash_attn_2};
constexpr Recompute kRecomputes[] = {Recompute::none, Recompute::attention, Recompute::block};
constexpr Parallelism kParallelisms[] = {Parallelism::ddp, Parallelism::zero1, Parallelism::zero2,
                                         Parallelism::fsdp};

MemoryPlan plan_of(const ModelConfig& config, const Execution& execution) {
    return memory_plan(config, model::parameter_layout(config), execution, kAdamW);
}

Execution small_run(std::int64_t world_size = 1) {
    Execution execution;
    execution.sequence_length = 96;
    execution.micro_batch_size = 3;
    execution.world_size = world_size;
    return execution;
}

std::uint64_t bytes_of(const MemoryPlan& plan, MemoryCategory category) {
    std::uint64_t bytes = 0;
    for (const Buffer& buffer : plan.buffers)
        bytes += buffer.category() == category ? buffer.bytes() : 0;
    return bytes;
}

std::uint64_t bytes_of(const MemoryPlan& plan, BufferId id) {
    std::uint64_t bytes = 0;
    for (const Buffer& buffer : plan.buffers) bytes += buffer.id == id ? buffer.bytes() : 0;
    return bytes;
}

std::uint64_t state_bytes(const MemoryPlan& plan) {
    return bytes_of(plan, MemoryCategory::weights) +
           bytes_of(plan, MemoryCategory::master_weights) +
           bytes_of(plan, MemoryCategory::gradients) +
           bytes_of(plan, MemoryCategory::optimizer_moments);
}

std::uint64_t sum(const std::vector<Buffer>& buffers) {
    std::uint64_t bytes = 0;
    for (const Buffer& buffer : buffers) bytes += buffer.bytes();
    return bytes;
}

bool live_together(const Buffer& a, const Buffer& b) {
    for (const Phase phase :
         {Phase::forward, Phase::loss, Phase::backward_ffn, Phase::backward_attention}) {
        if (is_live(a.lifetime, phase) && is_live(b.lifetime, phase)) return true;
    }
    return false;
}

/// Every combination of choices for one model.
std::vector<Execution> executions() {
    std::vector<Execution> list;
    for (const std::int64_t world_size : {1, 3, 8}) {
        for (const Parallelism parallelism : kParallelisms) {
            for (const AttentionBackend backend : kBackends) {
                for (const Recompute recompute : kRecomputes) {
                    Execution execution = small_run(world_size);
                    execution.parallelism = parallelism;
                    execution.attention_backend = backend;
                    execution.recompute = recompute;
                    list.push_back(execution);
                    execution.device = DeviceKind::cpu;
                    execution.dtype = DType::float32;
                    list.push_back(execution);
                }
            }
        }
    }
    return list;
}

class MemoryOfModel : public ::testing::TestWithParam<NamedModel> {};
INSTANTIATE_TEST_SUITE_P(Every, MemoryOfModel, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(MemoryOfModel, BuffersThatLiveTogetherDoNotOverlapAndLieInTheArena) {
    for (const Execution& execution : executions()) {
        const MemoryPlan plan = plan_of(GetParam().config, execution);
        for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
            const Buffer& buffer = plan.buffers[i];
            if (buffer.lifetime == Lifetime::outside_arena) continue;
            ASSERT_GT(buffer.bytes(), 0U) << buffer.name();
            ASSERT_EQ(buffer.bytes_each % kBufferAlignment, 0U) << buffer.name();
            ASSERT_EQ(buffer.offset % kBufferAlignment, 0U) << buffer.name();
            ASSERT_LE(buffer.offset + buffer.bytes(), plan.arena_bytes) << buffer.name();
            for (std::size_t j = 0; j < i; ++j) {
                const Buffer& other = plan.buffers[j];
                if (other.lifetime == Lifetime::outside_arena || !live_together(buffer, other))
                    continue;
                const bool apart = buffer.offset >= other.offset + other.bytes() ||
                                   other.offset >= buffer.offset + buffer.bytes();
                ASSERT_TRUE(apart) << buffer.name() << " and " << other.name();
            }
        }
    }
}

// The arena is as large as its fullest phase and no larger: nothing is wasted between buffers.
TEST_P(MemoryOfModel, ArenaIsAsLargeAsItsFullestPhase) {
    for (const Execution& execution : executions()) {
        const MemoryPlan plan = plan_of(GetParam().config, execution);
        std::uint64_t largest = 0;
        for (const Phase phase :
             {Phase::forward, Phase::loss, Phase::backward_ffn, Phase::backward_attention}) {
            std::uint64_t live = 0;
            for (const Buffer& buffer : plan.buffers) {
                if (buffer.lifetime != Lifetime::outside_arena && is_live(buffer.lifetime, phase)) {
                    live += buffer.bytes();
                }
            }
            largest = std::max(largest, live);
        }
        ASSERT_EQ(plan.arena_bytes, largest);
    }
}

TEST_P(MemoryOfModel, PeakByCategorySumsToTheTotal) {
    for (const Execution& execution : executions()) {
        const MemoryPlan plan = plan_of(GetParam().config, execution);
        const auto bytes = plan.peak_by_category();
        ASSERT_EQ(std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}),
                  plan.total_bytes());
    }
}

TEST_P(MemoryOfModel, OneRankHoldsSixteenBytesPerPaddedParameter) {
    const ModelConfig& config = GetParam().config;
    const std::uint64_t padded = padded_parameters(model::parameter_layout(config), 1);
    for (const DType dtype : {DType::bfloat16, DType::float16, DType::float32, DType::tf32}) {
        Execution execution = small_run();
        execution.dtype = dtype;
        EXPECT_EQ(state_bytes(plan_of(config, execution)), 16 * padded) << to_string(dtype);
        execution.device = DeviceKind::cpu;
        EXPECT_EQ(state_bytes(plan_of(config, execution)), 16 * padded)
            << to_string(dtype) << " cpu";
    }
}

// Padding: each tensor to 128 elements, each unit to lcm(world_size, 8) times that.
TEST_P(MemoryOfModel, PaddingIsLessThanOneAlignmentPerTensorAndUnit) {
    const model::ParameterLayout layout = model::parameter_layout(GetParam().config);
    std::int64_t tensors = static_cast<std::int64_t>(layout.embedding.size() + layout.head.size());
    std::int64_t units = 2;
    for (const auto& block : layout.blocks) {
        for (const auto& tensor : block.tensors) tensors += tensor.copies * block.count();
        units += block.count();
    }
    const std::int64_t total = layout.totals().total;
    for (const std::int64_t ranks : {1, 2, 3, 4, 8, 12}) {
        const auto padded = static_cast<std::int64_t>(padded_parameters(layout, ranks));
        const std::int64_t parts = shard_parts(ranks);
        EXPECT_GE(padded, total);
        EXPECT_LT(padded, total + tensors * kTensorAlignment + units * parts * kTensorAlignment);
        EXPECT_EQ(padded % (ranks * kTensorAlignment), 0);
    }
    for (const std::int64_t ranks : {2, 4, 8})
        EXPECT_EQ(padded_parameters(layout, ranks), padded_parameters(layout, 1));
}

TEST_P(MemoryOfModel, ReproducibleRunsKeepUnfinishedSums) {
    const ModelConfig& config = GetParam().config;
    for (const std::int64_t ranks : {1, 4}) {
        for (const Parallelism parallelism : kParallelisms) {
            Execution execution = small_run(ranks);
            execution.parallelism = parallelism;
            const auto gradients = [&](bool reproducible, std::int64_t micro_steps) {
                execution.reproducible = reproducible;
                execution.grad_accum_steps = micro_steps;
                return bytes_of(plan_of(config, execution), MemoryCategory::gradients);
            };
            const std::uint64_t one = gradients(false, 8);
            for (const auto& [micro_steps, sums] :
                 {std::pair{1, 0U}, std::pair{2, 1U}, std::pair{3, 2U}, std::pair{4, 2U},
                  std::pair{8, 3U}, std::pair{9, 4U}}) {
                EXPECT_EQ(gradients(true, micro_steps), one * (1 + sums)) << micro_steps;
            }
        }
    }
}

// Rajbhandari 2020: zero1 shards master weights and moments, zero2 also gradients, fsdp also
// weights.
TEST_P(MemoryOfModel, ShardsAreExactFractions) {
    const ModelConfig& config = GetParam().config;
    for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
        const std::uint64_t padded = padded_parameters(model::parameter_layout(config), ranks);
        const std::uint64_t shard = padded / static_cast<std::uint64_t>(ranks);
        for (const Parallelism parallelism : kParallelisms) {
            Execution execution = small_run(ranks);
            execution.parallelism = parallelism;
            const MemoryPlan plan = plan_of(config, execution);
            const auto share = [&](Parallelism from) {
                return parallelism >= from ? shard : padded;
            };
            EXPECT_EQ(bytes_of(plan, MemoryCategory::weights), 2 * share(Parallelism::fsdp));
            EXPECT_EQ(bytes_of(plan, MemoryCategory::gradients), 2 * share(Parallelism::zero2));
            EXPECT_EQ(bytes_of(plan, MemoryCategory::master_weights),
                      4 * share(Parallelism::zero1));
            EXPECT_EQ(bytes_of(plan, MemoryCategory::optimizer_moments),
                      8 * share(Parallelism::zero1));
        }
    }
}

TEST_P(MemoryOfModel, Float32GradientsAddTwoBytesPerParameterToA16BitRun) {
    const ModelConfig& config = GetParam().config;
    Execution execution = small_run();
    const MemoryPlan plain = plan_of(config, execution);
    execution.gradient_dtype = DType::float32;
    EXPECT_EQ(state_bytes(plan_of(config, execution)) - state_bytes(plain),
              2 * padded_parameters(model::parameter_layout(config), 1));
}

TEST_P(MemoryOfModel, MoreRecomputationSavesMoreActivations) {
    for (const AttentionBackend backend : kBackends) {
        Execution execution = small_run();
        execution.attention_backend = backend;
        const auto saved = [&](Recompute recompute) {
            execution.recompute = recompute;
            const MemoryPlan plan = plan_of(GetParam().config, execution);
            std::uint64_t bytes = 0;
            for (const Buffer& buffer : plan.buffers) {
                const bool kept = buffer.category() == MemoryCategory::activations &&
                                  buffer.lifetime == Lifetime::step;
                bytes += kept ? buffer.bytes() : 0;
            }
            return bytes;
        };
        const std::uint64_t none = saved(Recompute::none);
        const std::uint64_t attention = saved(Recompute::attention);
        const std::uint64_t block = saved(Recompute::block);
        EXPECT_GT(none, attention) << to_string(backend);
        EXPECT_GT(attention, block) << to_string(backend);
    }
}

// The S x S probabilities in 16 bits; the buffer is rounded up to its alignment.
TEST_P(MemoryOfModel, ManualAttentionSavesTheProbabilities) {
    const ModelConfig& config = GetParam().config;
    Execution execution = small_run();
    execution.attention_backend = AttentionBackend::manual;
    const std::uint64_t manual = sum(layer_activations(config, execution, {}));
    execution.attention_backend = AttentionBackend::flash_attn_2;
    const std::uint64_t fused = sum(layer_activations(config, execution, {}));
    const auto round_up = [](std::uint64_t bytes) { return (bytes + 255) / 256 * 256; };
    const auto heads = static_cast<std::uint64_t>(config.num_attention_heads);
    const std::uint64_t probabilities = round_up(3 * heads * 96 * 96 * 2);
    const std::uint64_t log_sum_exp = round_up(3 * 96 * heads * 4);
    EXPECT_EQ(manual - fused, probabilities - log_sum_exp);
}

TEST_P(MemoryOfModel, LargerMicroBatchesNeedMoreMemory) {
    Execution execution = small_run();
    std::uint64_t previous = 0;
    for (const std::int64_t batch : {1, 2, 3, 8}) {
        execution.micro_batch_size = batch;
        const std::uint64_t bytes = plan_of(GetParam().config, execution).total_bytes();
        EXPECT_GT(bytes, previous);
        previous = bytes;
    }
}

// T (8H + 2(a+2g)d + 2ad + 6F + 4a) bytes and the fp32 statistics of two norms: 8 T. T = 2048 keeps
// every buffer a multiple of its alignment, so there is no tolerance.
TEST(LlamaLayer, ActivationsEqualTheClosedForm) {
    for (const char* file : {"llama_7b", "llama2_70b", "llama3_8b", "llama3_405b"}) {
        const ModelConfig config =
            model::read_model_file(
                test::source_path(std::string("configs/models/") + file + ".jsonc"))
                .config;
        Execution execution;
        execution.sequence_length = 2048;
        const std::int64_t a = config.num_attention_heads;
        const std::int64_t g = config.num_key_value_heads;
        const std::int64_t d = config.head_dim;
        const std::int64_t per_token = 8 * config.hidden_size + 2 * (a + 2 * g) * d + 2 * a * d +
                                       6 * config.intermediate_size + 4 * a + 8;
        EXPECT_EQ(sum(layer_activations(config, execution, {})),
                  static_cast<std::uint64_t>(2048 * per_token))
            << file;
    }
}

// Plain FFN, standard attention heads, layer norms (mean and 1/deviation): 8H + 8ad/... with a d =
// H and F = 4H.
TEST(Gpt2Layer, ActivationsEqualTheClosedForm) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/gpt2_124m.jsonc")).config;
    Execution execution;
    execution.sequence_length = 1024;
    const std::int64_t H = config.hidden_size;
    const std::int64_t per_token =
        8 * H + 6 * H + 2 * H + 4 * (4 * H) + 4 * config.num_attention_heads + 2 * 8;
    EXPECT_EQ(sum(layer_activations(config, execution, {})),
              static_cast<std::uint64_t>(1024 * per_token));
}

TEST(LossChunk, BoundsTheLogits) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama3_8b.jsonc")).config;
    Execution execution;
    execution.sequence_length = 8192;
    const auto logits = [&](std::optional<std::int64_t> chunk) {
        execution.loss_chunk = chunk;
        return bytes_of(plan_of(config, execution), BufferId::logits);
    };
    const auto row = static_cast<std::uint64_t>(config.vocab_size) * 2;
    EXPECT_EQ(logits(0), 8192 * row);
    EXPECT_EQ(logits(512), 512 * row);
    EXPECT_EQ(logits(1'000'000), 8192 * row);
    const std::uint64_t automatic = logits(std::nullopt);
    // 1046 tokens would fit; 8 equal parts of 1024 need no more chunks than 7 of 1046 and a rest.
    EXPECT_LE(1046 * row, 256ULL << 20U);
    EXPECT_GT(1047 * row, 256ULL << 20U);
    EXPECT_EQ(automatic, 1024 * row);
    execution.sequence_length = 16;
    EXPECT_EQ(logits(std::nullopt), 16 * row);
}

// Korthikanti 2022, table 2: s b h (34 + 5 a s / h) per layer with stored scores, 34 without, 2
// with full recomputation; 4 s b h for the final norm and the head's input; fp32 logits 4 s b v.
TEST(MegatronEstimate, FollowsKorthikanti) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/gpt2_1558m.jsonc")).config;
    const model::ParameterTotals totals = model::parameter_layout(config).totals();
    const double s = 1024, b = 4, h = 1600, a = 25, L = 48, v = 50257;
    Execution execution;
    execution.sequence_length = 1024;
    execution.micro_batch_size = 4;
    const auto activations = [&](AttentionBackend backend, Recompute recompute) {
        execution.attention_backend = backend;
        execution.recompute = recompute;
        return static_cast<double>(megatron_estimate(config, totals, execution).activation_bytes);
    };
    EXPECT_EQ(activations(AttentionBackend::manual, Recompute::none),
              s * b * h * (L * (34 + 5 * a * s / h) + 4));
    EXPECT_EQ(activations(AttentionBackend::flash_attn_2, Recompute::none),
              s * b * h * (L * 34 + 4));
    EXPECT_EQ(activations(AttentionBackend::manual, Recompute::attention),
              s * b * h * (L * 34 + 4));
    EXPECT_EQ(activations(AttentionBackend::manual, Recompute::block), s * b * h * (L * 2 + 4));

    execution.parallelism = Parallelism::ddp;
    const MegatronEstimate estimate = megatron_estimate(config, totals, execution);
    EXPECT_EQ(estimate.logits_bytes, static_cast<std::uint64_t>(4 * s * b * v));
    EXPECT_EQ(estimate.model_state_bytes, 18 * static_cast<std::uint64_t>(totals.total));
    EXPECT_EQ(estimate.total_bytes(),
              estimate.model_state_bytes + estimate.activation_bytes + estimate.logits_bytes);
}

TEST(MegatronEstimate, ShardsStatesByStage) {
    const ModelConfig config =
        model::read_model_file(test::source_path("configs/models/llama_7b.jsonc")).config;
    const model::ParameterTotals totals = model::parameter_layout(config).totals();
    const auto n = static_cast<std::uint64_t>(totals.total);
    Execution execution = small_run(4);
    const auto states = [&](Parallelism parallelism) {
        execution.parallelism = parallelism;
        return megatron_estimate(config, totals, execution).model_state_bytes;
    };
    EXPECT_EQ(states(Parallelism::ddp), 18 * n);
    EXPECT_EQ(states(Parallelism::zero1), 9 * n);  // 6 + 12/4
    EXPECT_EQ(states(Parallelism::zero2), 6 * n);  // 2 + 16/4
    EXPECT_EQ(states(Parallelism::fsdp), 18 * n / 4);
}

TEST(Context, IsAnEstimateOutsideTheArenaOfCudaRunsOnly) {
    const ModelConfig config = test::synthetic_models().front().config;
    Execution execution = small_run();
    const MemoryPlan cuda = plan_of(config, execution);
    EXPECT_GT(cuda.context_bytes, 0U);
    EXPECT_EQ(cuda.total_bytes(), cuda.arena_bytes + cuda.context_bytes);
    execution.device = DeviceKind::cpu;
    EXPECT_EQ(plan_of(config, execution).context_bytes, 0U);
}

// What the guard lets pass is counted without overflow; the largest such run is found by doubling.
TEST(MemoryIsCountable, WhatPassesDoesNotOverflow) {
    std::vector<NamedModel> models = test::all_models();
    NamedModel wide_ranks = test::synthetic_model("latent_attention");
    wide_ranks.name = "wide_ranks";
    wide_ranks.config.mla->q_lora_rank = model::limits::kWidth;
    wide_ranks.config.mla->kv_lora_rank = model::limits::kWidth;
    models.push_back(wide_ranks);
    for (const NamedModel& named : models) {
        for (const AttentionBackend backend : kBackends) {
            Execution execution;
            execution.attention_backend = backend;
            execution.dtype = DType::float32;
            execution.loss_chunk = 0;
            execution.sequence_length = 1;
            Execution larger = execution;
            while (memory_is_countable(named.config, larger)) {
                execution = larger;
                larger.sequence_length *= 2;
            }
            ASSERT_GT(execution.sequence_length, 1) << named.name;
            const MemoryPlan plan = plan_of(named.config, execution);
            double bytes = 0;
            for (const Buffer& buffer : plan.buffers) {
                const double size =
                    static_cast<double>(buffer.bytes_each) * static_cast<double>(buffer.count);
                ASSERT_EQ(size, static_cast<double>(buffer.bytes()))
                    << named.name << " " << buffer.name();
                if (is_live(buffer.lifetime, plan.peak_phase)) bytes += size;
            }
            EXPECT_LT(bytes, 9.2e18) << named.name;
            EXPECT_NEAR(static_cast<double>(plan.total_bytes()) / bytes, 1.0, 1e-9) << named.name;
        }
    }
}

}  // namespace
}  // namespace isoflop::cost
