// Several ranks of the CUDA backend: threads, each with an emulated device, connected through host
// memory in NCCL's place. Every strategy trains as one rank does.
#include <gtest/gtest.h>

#include <mutex>
#include <ostream>
#include <thread>

#include "trainer/cuda/device_run.hpp"

namespace isoflop::testing {
namespace {

struct RankCase {
    std::string name;
    Overrides overrides;
};

void PrintTo(const RankCase& ranks, std::ostream* out) {
    *out << ranks.name;
}

Overrides small(Overrides more) {
    Overrides all = {"arch_preset=llama", "n_layer=2",       "n_head=2",
                     "n_embd=64",         "vocab_size=257",  "block_size=9",
                     "batch_size=1",      "warmup_iters=0",  "max_iters=8",
                     "min_lr=0",          "eval_interval=0", "gradient_accumulation_steps=4",
                     "dtype=bfloat16",    "n_kv_head=1",     "learning_rate=0.003"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

std::vector<trainer::IterationOutcome> train(DeviceRun& run) {
    std::vector<trainer::IterationOutcome> outcomes;
    for (std::int64_t iteration = 0; iteration < 2; ++iteration)
        outcomes.push_back(run.iterate(iteration, true));
    run.session.verify_replicas();
    return outcomes;
}

class DeviceRanks : public ::testing::TestWithParam<RankCase> {};

TEST_P(DeviceRanks, TrainAsOneDoes) {
    const Overrides overrides = small(GetParam().overrides);
    DeviceRun alone(small({}));
    const auto expected = train(alone);
    constexpr int kRanks = 2;
    trainer::LocalWorld world(kRanks);
    std::vector<std::vector<trainer::IterationOutcome>> outcomes(kRanks);
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < kRanks; ++rank) {
        ranks.emplace_back([&, rank] {
            DeviceRun run(overrides, kRanks, world.connector(rank));
            outcomes[static_cast<std::size_t>(rank)] = train(run);
        });
    }
    for (std::thread& rank : ranks) rank.join();
    for (const auto& of_rank : outcomes) {
        ASSERT_EQ(of_rank.size(), expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i) {
            EXPECT_NEAR(of_rank[i].loss / expected[i].loss, 1, 2e-3) << i;
            EXPECT_NEAR(of_rank[i].grad_norm / expected[i].grad_norm, 1, 2e-2) << i;
            EXPECT_NEAR(of_rank[i].gradients->grad_std / expected[i].gradients->grad_std, 1, 2e-2);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Strategies, DeviceRanks,
    ::testing::Values(RankCase{"ddp", {}}, RankCase{"zero1", {"use_zero1=true"}},
                      RankCase{"fsdp", {"use_fsdp=true"}},
                      RankCase{"fsdp_kept", {"use_fsdp=true", "fsdp_reshard_after_forward=false"}},
                      RankCase{"ddp_reproducible", {"reproducible=true"}}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace isoflop::testing
