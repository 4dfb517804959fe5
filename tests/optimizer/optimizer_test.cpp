// What an optimizer keeps is planned, allocated, divided over ranks and checkpointed from its
// description: sessions run optimizers that no other code knows.
#include "isoflop/optimizer/optimizer.hpp"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/checkpoint_test_support.hpp"
#include "isoflop/trainer/run_optimizer.hpp"
#include "optimizer/test_optimizers.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::optimizer {
namespace {

using trainer::Overrides;

Overrides run_of(const Overrides& more = {}) {
    Overrides all = trainer::tiny_run(
        {"arch_preset=llama", "gradient_accumulation_steps=2", "learning_rate=0.05"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

recipe::RunPlan plan_with(const cost::OptimizerState& state, const Overrides& overrides,
                          int ranks = 1) {
    recipe::Recipe config = trainer::config_of(overrides, ranks);
    config.optimizer = &state;
    return attention_lab::plan_with_attention(std::move(config));
}

struct OptimizerRun {
    OptimizerRun(const cost::OptimizerState& state, const Overrides& overrides, int ranks = 1,
                 const trainer::CommunicatorFactory& connect = {})
        : data(data::TokenDataset::open("builtin", data::Split::train)),
          session(plan_with(state, overrides, ranks), pool, connect, device::host_device(),
                  test::make_test_optimizer(state)),
          samples(data, session.plan().config.execution.sequence_length,
                  static_cast<std::uint64_t>(session.plan().config.keys.execution.seed)) {
        session.initialize_from_scratch();
    }
    double iterate(std::int64_t iteration) {
        return session.train_iteration(iteration, samples, false).loss;
    }
    device::ThreadPool pool{1};
    data::TokenDataset data;
    trainer::Session session;
    data::BatchSampler samples;
};

using Values = std::map<std::string, std::vector<float>>;

void collect(const std::vector<checkpoint::NamedTensor>& tensors, Values& values) {
    for (const checkpoint::NamedTensor& part : tensors) {
        std::int64_t elements = 1;
        for (const std::int64_t extent : part.shape) elements *= extent;
        std::vector<float>& whole = values[part.name];
        whole.resize(static_cast<std::size_t>(elements));
        const auto from = part.data.as<float>();
        std::copy(from.begin(), from.end(), whole.begin() + part.first_element);
    }
}

/// Weights and state after three iterations.
Values train(const cost::OptimizerState& state, const Overrides& overrides, int ranks) {
    std::mutex mutex;
    Values values;
    trainer::LocalWorld world(ranks);
    comm::run_threads(ranks, [&](int rank) {
        OptimizerRun run(state, overrides, ranks,
                         ranks == 1 ? trainer::CommunicatorFactory{} : world.connector(rank));
        for (std::int64_t iteration = 0; iteration < 3; ++iteration) (void)run.iterate(iteration);
        run.session.synchronize();
        const std::lock_guard<std::mutex> lock(mutex);
        collect(run.session.weight_tensors(), values);
        collect(run.session.optimizer_tensors(), values);
    });
    return values;
}

class TestOptimizers : public ::testing::TestWithParam<const cost::OptimizerState*> {};

TEST(Optimizers, HaveNamesAndPrefixesOfTheirOwn) {
    std::set<std::string_view> names;
    for (const cost::OptimizerState* state : cost::kOptimizers) {
        EXPECT_TRUE(names.insert(state->name).second) << state->name;
        recipe::Recipe recipe;
        recipe.optimizer = state;
        EXPECT_EQ(&trainer::make_optimizer(recipe)->state(), state) << state->name;
        std::set<std::string_view> prefixes;
        for (const cost::OptimizerTensor& tensor : state->tensors)
            EXPECT_TRUE(prefixes.insert(tensor.checkpoint_prefix).second) << tensor.name;
    }
}

TEST(Optimizers, WithoutAnUpdateAreRefused) {
    recipe::Recipe recipe;
    recipe.optimizer = &test::kMomentumSgd;
    EXPECT_THROW((void)trainer::make_optimizer(recipe), std::logic_error);
}

TEST(Optimizers, OfAnotherStateThanThePlansAreRefused) {
    device::ThreadPool pool(1);
    EXPECT_THROW(
        trainer::Session(plan_with(cost::kAdamW, run_of()), pool, trainer::CommunicatorFactory{},
                         device::host_device(), std::make_unique<test::MomentumSgd>()),
        std::logic_error);
}

TEST(Optimizers, HaveTheConstantsOfTheKeys) {
    const auto weights_after_a_step = [](const Overrides& overrides) {
        return train(cost::kAdamW, run_of(overrides), 1).at("model.embed_tokens.weight");
    };
    const std::vector<float> usual = weights_after_a_step({});
    for (const char* key : {"beta1=0.5", "beta2=0.5", "adam_eps=0.1", "weight_decay=0.5"})
        EXPECT_NE(weights_after_a_step({key}), usual) << key;
}

// Weights, gradients and moments of fp32: 12 bytes per parameter with one moment, 16 with two.
TEST(OptimizerState, OfOneMomentIsPlannedSmaller) {
    const auto state_bytes = [](const cost::OptimizerState& state) {
        const recipe::RunPlan plan = plan_with(state, run_of({"reproducible=false"}));
        std::uint64_t bytes = 0;
        for (const cost::Buffer& buffer : plan.memory.buffers) {
            const cost::MemoryCategory category = buffer.category();
            const bool is_state = category == cost::MemoryCategory::weights ||
                                  category == cost::MemoryCategory::gradients ||
                                  category == cost::MemoryCategory::optimizer_moments;
            if (is_state) bytes += buffer.bytes();
        }
        return static_cast<double>(bytes) / static_cast<double>(plan.state.elements);
    };
    EXPECT_EQ(state_bytes(cost::kAdamW), 16);
    EXPECT_EQ(state_bytes(test::kMomentumSgd), 12);
}

// A block has two norms of 32 weights, the head one: 128 elements each in memory, and the padding
// of a unit belongs to its last tensor.
TEST(OptimizerState, OfSomeTensorsOfABlockIsPlannedForThese) {
    const auto elements_of = [](const cost::OptimizerState& state, std::string_view name) {
        const recipe::RunPlan plan = plan_with(state, run_of());
        std::uint64_t bytes = 0;
        for (const cost::Buffer& buffer : plan.memory.buffers)
            bytes += buffer.name() == name ? buffer.bytes() : 0;
        return bytes / 4;
    };
    const recipe::RunPlan plan = plan_with(test::kMixedMoments, run_of());
    EXPECT_EQ(elements_of(test::kMixedMoments, "first_moment"), plan.state.elements);
    const auto count = [&](auto covers) {
        std::uint64_t elements = 0;
        for (std::size_t i = 0; i < plan.state.tensors.size(); ++i) {
            const cost::StateTensor& tensor = plan.state.tensors[i];
            const bool last = i + 1 == plan.state.tensors.size();
            const std::uint64_t end = last ? plan.state.elements : plan.state.tensors[i + 1].offset;
            elements += covers(tensor.spec) ? end - tensor.offset : 0;
        }
        return elements;
    };
    const std::uint64_t vectors = count(test::is_vector);
    EXPECT_LT(vectors, plan.state.elements / 10);
    EXPECT_EQ(elements_of(test::kMixedMoments, "second_moment"), vectors);
    EXPECT_EQ(elements_of(test::kNormedMomentum, "momentum"), count(test::is_block_matrix));
}

TEST(OptimizerState, HasTheNamesOfItsDescriptionInPlans) {
    const recipe::RunPlan plan = plan_with(cost::kAdamW, run_of());
    std::set<std::string_view> names;
    for (const cost::Buffer& buffer : plan.memory.buffers) {
        if (buffer.category() == cost::MemoryCategory::optimizer_moments)
            names.insert(buffer.name());
    }
    EXPECT_EQ(names, (std::set<std::string_view>{"first_moment", "second_moment"}));
}

TEST_P(TestOptimizers, HoldWhatIsPlanned) {
    OptimizerRun run(*GetParam(), run_of());
    std::uint64_t held = 0;
    for (const sharding::StateSlice& slice : run.session.strategy().slices()) {
        ASSERT_EQ(slice.optimizer_state.size(), GetParam()->tensors.size());
        for (const StateView& state : slice.optimizer_state)
            held += state.values.empty() ? 0 : state.values.bytes();
    }
    const cost::MemoryPlan& plan = run.session.plan().memory;
    EXPECT_EQ(
        held,
        plan.peak_by_category()[static_cast<std::size_t>(cost::MemoryCategory::optimizer_moments)]);
    EXPECT_EQ(run.session.memory().bytes(), plan.arena_bytes);
}

TEST_P(TestOptimizers, LowerTheLoss) {
    OptimizerRun run(*GetParam(), run_of());
    const auto loss = [&] { return run.session.evaluate_samples(run.samples, 0, 8).mean(); };
    const double before = loss();
    for (std::int64_t iteration = 0; iteration < 4; ++iteration) (void)run.iterate(iteration);
    EXPECT_LT(loss(), before);
}

TEST_P(TestOptimizers, ResumeBitForBit) {
    const checkpoint::test::TemporaryDirectory folder;
    OptimizerRun whole(*GetParam(), run_of());
    for (std::int64_t iteration = 0; iteration < 2; ++iteration) (void)whole.iterate(iteration);
    const auto step = checkpoint::write_checkpoint(folder.path(), 2, whole.session.weight_tensors(),
                                                   whole.session.optimizer_tensors(),
                                                   nlohmann::ordered_json::object());
    OptimizerRun resumed(*GetParam(), run_of());
    resumed.session.load(checkpoint::CheckpointReader::open(step), whole.session.updates());
    for (std::int64_t iteration = 2; iteration < 4; ++iteration)
        EXPECT_EQ(resumed.iterate(iteration), whole.iterate(iteration)) << iteration;
    Values expected;
    Values found;
    collect(whole.session.weight_tensors(), expected);
    collect(whole.session.optimizer_tensors(), expected);
    collect(resumed.session.weight_tensors(), found);
    collect(resumed.session.optimizer_tensors(), found);
    EXPECT_EQ(found, expected);
}

TEST_P(TestOptimizers, GiveTheSameBitsUnderEveryStrategy) {
    const Values one = train(*GetParam(), run_of(), 1);
    for (const char* strategy : {"use_zero1=false", "use_zero1=true", "use_fsdp=true"})
        EXPECT_EQ(train(*GetParam(), run_of({strategy}), 2), one) << strategy;
    const Overrides four_steps = {"gradient_accumulation_steps=4"};
    const Values whole = train(*GetParam(), run_of(four_steps), 1);
    for (const char* strategy : {"use_zero1=true", "use_fsdp=true"})
        EXPECT_EQ(train(*GetParam(), run_of({strategy, four_steps.front()}), 4), whole) << strategy;
}

/// Memory has room for the most that a rank holds of each unit.
TEST_P(TestOptimizers, HoldOnRanksWhatIsPlanned) {
    constexpr int kRanks = 4;
    for (const char* strategy : {"use_zero1=true", "use_fsdp=true"}) {
        std::mutex mutex;
        std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> most;  // by unit and state
        std::uint64_t planned = 0;
        trainer::LocalWorld world(kRanks);
        comm::run_threads(kRanks, [&](int rank) {
            OptimizerRun run(*GetParam(), run_of({strategy, "gradient_accumulation_steps=4"}),
                             kRanks, world.connector(rank));
            const std::lock_guard<std::mutex> lock(mutex);
            for (const sharding::StateSlice& slice : run.session.strategy().slices()) {
                for (std::size_t i = 0; i < slice.optimizer_state.size(); ++i) {
                    const device::TensorView& values = slice.optimizer_state[i].values;
                    std::uint64_t& bytes = most[{slice.unit, i}];
                    bytes = std::max<std::uint64_t>(bytes, values.empty() ? 0 : values.bytes());
                }
            }
            const auto category = static_cast<std::size_t>(cost::MemoryCategory::optimizer_moments);
            planned = run.session.plan().memory.peak_by_category()[category];
        });
        std::uint64_t held = 0;
        for (const auto& [place, bytes] : most) held += bytes;
        EXPECT_EQ(held, planned) << strategy;
    }
}

INSTANTIATE_TEST_SUITE_P(OneMomentWholeMatricesAndMixed, TestOptimizers,
                         ::testing::Values(&test::kMomentumSgd, &test::kNormedMomentum,
                                           &test::kMixedMoments),
                         [](const auto& parameter) { return std::string(parameter.param->name); });

}  // namespace
}  // namespace isoflop::optimizer
