// The advice for a plan that does not fit, against a search over everything by hand.
#include "isoflop/recipe/memory_fit.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "support/shipped_configs.hpp"

namespace isoflop::recipe {
namespace {

using cost::AttentionBackend;
using cost::Execution;
using cost::Parallelism;
using cost::Recompute;

constexpr std::uint64_t kGiBytes = 1ULL << 30U;

/// Extra step time of each choice, as memory_fit.cpp estimates it.
const std::map<Parallelism, double> kSharding{{Parallelism::ddp, 0},
                                              {Parallelism::zero1, 0.01},
                                              {Parallelism::zero2, 0.02},
                                              {Parallelism::fsdp, 0.04}};
const std::map<Recompute, double> kRecomputing{
    {Recompute::none, 0}, {Recompute::attention, 0.05}, {Recompute::block, 0.33}};
constexpr double kHalving = 0.02;

struct Case {
    const char* file;
    Execution execution;
    std::uint64_t capacity;
};

Execution run(std::int64_t batch, std::int64_t sequence, std::int64_t ranks,
              Parallelism parallelism, AttentionBackend backend = AttentionBackend::manual) {
    Execution execution;
    execution.micro_batch_size = batch;
    execution.sequence_length = sequence;
    execution.world_size = ranks;
    execution.parallelism = parallelism;
    execution.attention_backend = backend;
    return execution;
}

std::vector<Case> cases() {
    std::vector<Case> list;
    for (const char* file : {"gpt2_124m", "llama_7b", "llama3_8b", "mixtral_8x7b"}) {
        for (const std::int64_t batch : {1, 6, 16}) {
            for (const std::int64_t ranks : {1, 8, 64}) {
                for (const auto parallelism : {Parallelism::ddp, Parallelism::zero2}) {
                    for (const std::uint64_t capacity : {8ULL, 40ULL, 80ULL, 141ULL}) {
                        list.push_back(
                            {file, run(batch, 2048, ranks, parallelism), capacity * kGiBytes});
                        list.push_back(
                            {file,
                             run(batch, 2048, ranks, parallelism, AttentionBackend::flash_attn_2),
                             capacity * kGiBytes});
                    }
                }
            }
        }
    }
    return list;
}

model::ModelConfig shipped(const char* name) {
    return model::read_model_file(
               test::source_path(std::string("configs/models/") + name + ".jsonc"))
        .config;
}

/// Least slowdown of any combination that fits; infinite when none does.
double least_slowdown(const model::ModelConfig& config, const Case& item) {
    const model::ParameterLayout layout = model::parameter_layout(config);
    double least = std::numeric_limits<double>::infinity();
    for (const AttentionBackend backend :
         {item.execution.attention_backend, AttentionBackend::flash_attn_2}) {
        for (const auto& [parallelism, sharding] : kSharding) {
            if (parallelism < item.execution.parallelism) continue;
            if (item.execution.world_size == 1 && parallelism != item.execution.parallelism)
                continue;
            for (const auto& [recompute, recomputing] : kRecomputing) {
                double halvings = 0;
                for (std::int64_t batch = item.execution.micro_batch_size; batch >= 1;
                     batch /= 2, halvings += 1) {
                    if (item.execution.micro_batch_size % batch != 0) continue;
                    Execution tried = item.execution;
                    tried.attention_backend = backend;
                    tried.parallelism = parallelism;
                    tried.recompute = recompute;
                    tried.micro_batch_size = batch;
                    if (cost::memory_plan(config, layout, tried, cost::kAdamW).total_bytes() >
                        item.capacity)
                        continue;
                    least = std::min(least, sharding - kSharding.at(item.execution.parallelism) +
                                                recomputing + kHalving * halvings);
                }
            }
        }
    }
    return least;
}

/// Of the plan of such a run, whose backend is not decided anew.
MemoryFit fit_of(const model::ModelConfig& config, const Execution& execution,
                 std::uint64_t capacity_bytes, KeysOf keys = KeysOf::plan) {
    AttentionResolution attention;
    attention.used = execution.attention_backend;
    const RunPlan run =
        plan_run(recipe_of(config, execution, cost::kAdamW), std::move(attention), Extent::sweep);
    EXPECT_EQ(run.memory.total_bytes(),
              cost::memory_plan(config, run.layout, execution, cost::kAdamW).total_bytes());
    return memory_fit(run, capacity_bytes, keys);
}

TEST(MemoryFit, ProposesTheCheapestChangeThatFits) {
    int proposed = 0, hopeless = 0, fitting = 0;
    for (const Case& item : cases()) {
        const model::ModelConfig config = shipped(item.file);
        const model::ParameterLayout layout = model::parameter_layout(config);
        const MemoryFit fit = fit_of(config, item.execution, item.capacity);
        ASSERT_EQ(fit.fits(), fit.planned_bytes <= item.capacity);
        if (fit.fits()) {
            EXPECT_FALSE(fit.change);
            ++fitting;
            continue;
        }
        const double least = least_slowdown(config, item);
        if (!fit.change) {
            EXPECT_EQ(least, std::numeric_limits<double>::infinity()) << item.file;
            ++hopeless;
            continue;
        }
        ++proposed;
        EXPECT_NEAR(fit.change->slowdown, least, 1e-12)
            << item.file << " " << fit.change->description;
        // It really fits, and the global batch is what it was.
        const Execution& changed = fit.change->execution;
        EXPECT_EQ(cost::memory_plan(config, layout, changed, cost::kAdamW).total_bytes(),
                  fit.change->total_bytes);
        EXPECT_LE(fit.change->total_bytes, item.capacity);
        EXPECT_EQ(changed.micro_batch_size * changed.grad_accum_steps,
                  item.execution.micro_batch_size * item.execution.grad_accum_steps);
        EXPECT_FALSE(fit.change->description.empty());
    }
    // The cases cover every outcome.
    EXPECT_GT(proposed, 20);
    EXPECT_GT(hopeless, 20);
    EXPECT_GT(fitting, 20);
}

// Runs on CPUs keep partial sums of gradients, so that every number of ranks gives the same bits.
TEST(MemoryFit, NamesReproducibleBeforeBlocksAreRecomputed) {
    const model::ModelConfig config = shipped("gpt2_124m");
    const model::ParameterLayout layout = model::parameter_layout(config);
    Execution given = run(1, 1024, 1, Parallelism::ddp, AttentionBackend::flash_attn_2);
    given.device = cost::DeviceKind::cpu;
    given.dtype = DType::float32;
    given.grad_accum_steps = 16;
    given.reproducible = true;
    Execution plain = given;
    plain.reproducible = false;
    const std::uint64_t enough =
        cost::memory_plan(config, layout, plain, cost::kAdamW).total_bytes();
    const MemoryFit fit = fit_of(config, given, enough, KeysOf::training);
    ASSERT_TRUE(fit.change);
    EXPECT_EQ(fit.change->description, "reproducible=false");
    EXPECT_EQ(fit.change->slowdown, 0);
    EXPECT_EQ(fit.change->total_bytes, enough);
    const MemoryFit less = fit_of(config, given, enough - 1, KeysOf::training);
    ASSERT_TRUE(less.change);
    EXPECT_NE(less.change->description.find("reproducible=false, recompute="), std::string::npos)
        << less.change->description;
    // Plans have no such key.
    const MemoryFit plan = fit_of(config, given, enough);
    if (plan.change) {
        EXPECT_EQ(plan.change->description.find("reproducible"), std::string::npos);
        EXPECT_TRUE(plan.change->execution.reproducible);
    }
    // Cheap changes that keep the bits come first.
    given.micro_batch_size = 16;
    given.grad_accum_steps = 1;
    const std::uint64_t nearly =
        cost::memory_plan(config, layout, given, cost::kAdamW).total_bytes() - 1;
    const MemoryFit small = fit_of(config, given, nearly, KeysOf::training);
    ASSERT_TRUE(small.change);
    EXPECT_EQ(small.change->description.find("reproducible"), std::string::npos);
}

TEST(MemoryFit, FewestGpusIsTheTrueMinimum) {
    int found = 0;
    for (const char* file :
         {"llama_7b", "llama2_70b", "mixtral_8x7b", "llama3_405b", "deepseek_v3"}) {
        const model::ModelConfig config = shipped(file);
        const model::ParameterLayout layout = model::parameter_layout(config);
        for (const std::uint64_t capacity : {24ULL, 40ULL, 80ULL, 141ULL, 192ULL}) {
            const Execution given = run(1, 2048, 1, Parallelism::ddp);
            const MemoryFit fit = fit_of(config, given, capacity * kGiBytes);
            if (!fit.gpus_needed) continue;
            ++found;
            Execution frugal = given;
            frugal.attention_backend = AttentionBackend::flash_attn_2;
            frugal.parallelism = Parallelism::fsdp;
            frugal.recompute = Recompute::block;
            const auto fits = [&](std::int64_t gpus) {
                frugal.world_size = gpus;
                return cost::memory_plan(config, layout, frugal, cost::kAdamW).total_bytes() <=
                       capacity * kGiBytes;
            };
            EXPECT_TRUE(fits(*fit.gpus_needed)) << file << " " << capacity;
            for (std::int64_t gpus = 1; gpus < *fit.gpus_needed; ++gpus) {
                ASSERT_FALSE(fits(gpus))
                    << file << " " << capacity << ": " << gpus << " are enough";
            }
        }
    }
    EXPECT_GT(found, 10);
}

TEST(MemoryFit, SaysWhenNoNumberOfGpusIsEnough) {
    const model::ModelConfig config = shipped("llama3_405b");
    const MemoryFit fit = fit_of(config, run(1, 8192, 8, Parallelism::ddp), 1 * kGiBytes);
    EXPECT_FALSE(fit.fits());
    EXPECT_FALSE(fit.change);
    EXPECT_FALSE(fit.gpus_needed);
    EXPECT_LT(fit.headroom_bytes(), 0);
}

// A fused backend would need less, but none runs.
TEST(MemoryFit, ProposesOnlyBackendsThatRun) {
    const model::ModelConfig config = test::model_of(
        R"({"arch_preset": "llama", "n_layer": 24, "n_embd": 2560, "n_head": 32, "vocab_size": 32000,
            "block_size": 4096})");
    ASSERT_EQ(config.head_dim, 80);
    const model::ParameterLayout layout = model::parameter_layout(config);
    int changed = 0, enlarged = 0;
    for (const std::uint64_t capacity : {4ULL, 8ULL, 16ULL, 24ULL, 40ULL}) {
        const MemoryFit fit =
            fit_of(config, run(4, 4096, 8, Parallelism::ddp), capacity * kGiBytes);
        ASSERT_FALSE(fit.fits());
        if (fit.change) {
            ++changed;
            EXPECT_EQ(fit.change->execution.attention_backend, AttentionBackend::manual);
            EXPECT_EQ(fit.change->description.find("attention_backend"), std::string::npos);
        } else if (fit.gpus_needed) {
            ++enlarged;
            EXPECT_EQ(fit.gpus_needed_backend, AttentionBackend::manual);
            Execution frugal = run(1, 4096, *fit.gpus_needed, Parallelism::fsdp);
            frugal.recompute = Recompute::block;
            EXPECT_LE(cost::memory_plan(config, layout, frugal, cost::kAdamW).total_bytes(),
                      capacity * kGiBytes);
        }
    }
    EXPECT_GT(changed, 0);
    EXPECT_GT(enlarged, 0);
}

TEST(MemoryFit, DescribesEachChangeByItsConfigKey) {
    const model::ModelConfig config = shipped("llama_7b");
    const MemoryFit fit = fit_of(config, run(4, 4096, 8, Parallelism::ddp), 24 * kGiBytes);
    ASSERT_TRUE(fit.change);
    EXPECT_NE(fit.change->description.find("attention_backend=flash_attn_2"), std::string::npos);
    EXPECT_NE(fit.change->description.find("parallelism="), std::string::npos);
}

}  // namespace
}  // namespace isoflop::recipe
