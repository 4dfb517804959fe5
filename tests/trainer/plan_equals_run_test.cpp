// The plan is the run: for realistic configurations across presets, attention backends,
// recomputation, grouped queries and accumulation, what `cost` predicts is what a Session allocates
// and executes. How much memory the process takes is in tests/tools/earlier_trainer_test.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <ostream>

#include "isoflop/cost/flop_count.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

struct RunCase {
    std::string name;
    Overrides overrides;
};

void PrintTo(const RunCase& run, std::ostream* out) {
    *out << run.name;
}

Overrides sized(Overrides choices) {
    Overrides all = {"n_layer=4",      "n_head=4",     "n_embd=256",    "vocab_size=4096",
                     "block_size=256", "batch_size=2", "warmup_iters=0"};
    all.insert(all.end(), choices.begin(), choices.end());
    return all;
}

const std::vector<RunCase>& run_cases() {
    static const std::vector<RunCase> cases = {
        {"llama", sized({"arch_preset=llama"})},
        {"llama_grouped_queries_sdpa",
         sized({"arch_preset=llama", "n_kv_head=2", "attention_backend=sdpa"})},
        {"llama_one_kv_head_manual",
         sized({"arch_preset=llama", "n_kv_head=1", "attention_backend=manual"})},
        {"llama_recompute_block", sized({"arch_preset=llama", "recompute=block", "n_kv_head=2"})},
        {"llama_manual_recompute_attention",
         sized({"arch_preset=llama", "attention_backend=manual", "recompute=attention"})},
        {"llama_manual_in_head_chunks", sized({"arch_preset=llama", "attention_backend=manual",
                                               "n_kv_head=2", "manual_head_chunk=2"})},
        {"qwen3_recompute_attention",
         sized({"arch_preset=qwen3", "head_dim=96", "n_kv_head=2", "recompute=attention"})},
        {"gpt2", sized({"arch_preset=gpt2", "dropout=0.1"})},
        {"gpt2_bias_manual_recompute_block",
         sized({"arch_preset=gpt2", "bias=true", "normalization=layernorm",
                "attention_backend=manual", "recompute=block"})},
        {"hybrid_sdpa_recompute_attention",
         sized({"arch_preset=hybrid", "attention_backend=sdpa", "recompute=attention"})},
        {"custom_post_norm_odd_sizes",
         {"arch_preset=custom", "norm_position=post", "ffn_type=standard", "activation=relu",
          "n_layer=3", "n_head=3", "n_embd=150", "vocab_size=1031", "block_size=99", "batch_size=3",
          "loss_chunk=70"}},
        {"accumulation_and_chunked_loss",
         sized({"arch_preset=llama", "weight_tying=true", "gradient_accumulation_steps=3",
                "batch_size=1", "loss_chunk=100"})},
        {"arena_over_200_megabytes",
         sized({"arch_preset=llama", "batch_size=8", "n_kv_head=2", "vocab_size=8192"})},
    };
    return cases;
}

using Products = std::map<std::pair<std::string, cost::Pass>, std::uint64_t>;

/// Planned FLOPs of one iteration: every micro-batch of this rank.
Products planned_products(const recipe::Recipe& config) {
    Products planned;
    for (const auto& product : cost::executed_products(config.model, config.execution)) {
        planned[{std::string(product.name), product.pass}] +=
            product.flops() * static_cast<std::uint64_t>(config.micro_steps);
    }
    return planned;
}

Products issued_products(const device::ProductRecorder& recorder) {
    Products issued;
    for (const auto& entry : recorder.entries())
        issued[{std::string(entry.name), entry.pass}] += 2 * entry.multiply_adds;
    return issued;
}

class PlanEqualsRun : public ::testing::TestWithParam<RunCase> {};

TEST_P(PlanEqualsRun, EveryMatrixProductToTheFlop) {
    TestRun run(GetParam().overrides);
    device::ProductRecorder recorder;
    run.session.context().recorder = &recorder;
    const recipe::RunPlan& plan = run.session.plan();
    for (std::int64_t iteration = 0; iteration < 2; ++iteration) {
        recorder.clear();
        ASSERT_TRUE(std::isfinite(run.iterate(iteration).loss));
        EXPECT_EQ(issued_products(recorder), planned_products(plan.config)) << iteration;
    }
    EXPECT_DOUBLE_EQ(
        static_cast<double>(recorder.total_flops()),
        plan.executed_flops_per_token * static_cast<double>(plan.config.tokens_per_iteration));
}

// The last buffer of the peak phase may end in padding up to its alignment.
TEST_P(PlanEqualsRun, AStepHandsOutTheWholeArena) {
    TestRun run(GetParam().overrides);
    const device::PlannedMemory& memory = run.session.memory();
    ASSERT_TRUE(std::isfinite(run.iterate(0).loss));
    EXPECT_LE(memory.high_water_bytes(), memory.plan().arena_bytes);
    EXPECT_LT(memory.plan().arena_bytes - memory.high_water_bytes(), cost::kBufferAlignment);
}

TEST_P(PlanEqualsRun, EveryParameter) {
    TestRun run(GetParam().overrides);
    const recipe::RunPlan& plan = run.session.plan();
    std::map<std::string, std::vector<std::int64_t>> planned;
    plan.layout.for_each([&](const std::string& name, const model::TensorSpec& tensor) {
        planned[name] = tensor.is_matrix()
                            ? std::vector<std::int64_t>{tensor.shape[0], tensor.shape[1]}
                            : std::vector<std::int64_t>{tensor.shape[0]};
    });
    std::map<std::string, std::vector<std::int64_t>> allocated;
    std::int64_t parameters = 0;
    for (const checkpoint::NamedTensor& tensor : run.session.weight_tensors()) {
        allocated[tensor.name] = tensor.shape;
        parameters += tensor.data.size();
    }
    EXPECT_EQ(allocated, planned);
    EXPECT_EQ(parameters, plan.parameters.total);
}

// Model state is compared with the tensors that the session holds. The rest of the arena is filled
// with a pattern, one iteration runs, and a buffer that still ends in the pattern was planned too
// large; PlannedMemory refuses what was planned too small or not at all. Transient buffers of
// different phases share addresses, so for those it shows only that some phase came that far.
TEST_P(PlanEqualsRun, EveryByteOfTheArenaByCategory) {
    TestRun run(GetParam().overrides);
    Session& session = run.session;
    const cost::MemoryPlan& plan = session.memory().plan();
    EXPECT_EQ(session.memory().bytes(), session.plan().memory.arena_bytes);

    std::uint64_t state_bytes = 0;
    for (const auto category :
         {cost::MemoryCategory::weights, cost::MemoryCategory::gradients,
          cost::MemoryCategory::optimizer_moments, cost::MemoryCategory::inputs}) {
        state_bytes += plan.peak_by_category()[static_cast<std::size_t>(category)];
    }
    std::uint64_t allocated = session.memory().plan().find(cost::BufferId::token_ids)->bytes();
    for (const sharding::StateSlice& slice : session.strategy().slices()) {
        allocated += slice.weights.bytes() +
                     slice.gradients.bytes() *
                         static_cast<std::uint64_t>(
                             1 + cost::pending_gradient_sums(session.plan().config.execution));
    }
    for (const sharding::StateSlice& slice : session.strategy().slices()) {
        for (const optimizer::StateView& state : slice.optimizer_state)
            allocated += state.values.bytes();
    }
    EXPECT_EQ(allocated, state_bytes);

    // The arena begins with the weights.
    auto* const arena = session.memory().bytes_of(cost::BufferId::weights).data();
    constexpr std::byte kPattern{0xA5};
    std::map<cost::MemoryCategory, std::uint64_t> planned;
    std::map<cost::MemoryCategory, std::uint64_t> used;
    const auto transient = [](const cost::Buffer& buffer) {
        return buffer.lifetime != cost::Lifetime::persistent;
    };
    std::uint64_t first_transient = session.memory().bytes();
    for (const cost::Buffer& buffer : plan.buffers) {
        if (transient(buffer)) first_transient = std::min(first_transient, buffer.offset);
    }
    std::memset(arena + first_transient, static_cast<int>(kPattern),
                session.memory().bytes() - first_transient);
    ASSERT_TRUE(std::isfinite(run.iterate(0).loss));
    for (const cost::Buffer& buffer : plan.buffers) {
        if (!transient(buffer)) continue;
        for (std::int64_t copy = 0; copy < buffer.count; ++copy) {
            const std::byte* const begin =
                arena + buffer.offset + static_cast<std::uint64_t>(copy) * buffer.bytes_each;
            const std::byte* last = begin + buffer.bytes_each;
            while (last != begin && *(last - 1) == kPattern) --last;
            // Sizes are rounded up to the alignment, and a value can end in the pattern's byte.
            const auto unused = static_cast<std::uint64_t>(begin + buffer.bytes_each - last);
            EXPECT_LT(unused, cost::kBufferAlignment) << buffer.name() << " copy " << copy;
            planned[buffer.category()] += buffer.bytes_each;
            used[buffer.category()] +=
                unused < cost::kBufferAlignment ? buffer.bytes_each : buffer.bytes_each - unused;
        }
    }
    EXPECT_EQ(used, planned);
}

INSTANTIATE_TEST_SUITE_P(Configurations, PlanEqualsRun, ::testing::ValuesIn(run_cases()),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace isoflop::trainer
