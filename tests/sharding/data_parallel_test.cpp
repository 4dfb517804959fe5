// Training on several ranks against training on one. Ranks are threads here, connected in memory;
// the tools' tests start processes.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "comm/local_ranks.hpp"
#include "isoflop/cost/communication.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

/// What a run leaves: losses and norms of its iterations, its validation loss, its weights.
struct Outcome {
    std::vector<double> losses;
    std::vector<double> norms;
    double validation_loss = 0;
    std::map<std::string, std::vector<float>> weights;
    std::map<std::string, std::vector<float>> moments;
};

void collect(const std::vector<checkpoint::NamedTensor>& tensors,
             std::map<std::string, std::vector<float>>& whole) {
    for (const checkpoint::NamedTensor& part : tensors) {
        std::int64_t elements = 1;
        for (const std::int64_t extent : part.shape) elements *= extent;
        std::vector<float>& values = whole[part.name];
        values.resize(static_cast<std::size_t>(elements));
        const auto from = part.data.as<float>();
        std::copy(from.begin(), from.end(), values.begin() + part.first_element);
    }
}

constexpr std::int64_t kIterations = 6;

int shard_size_in(const Overrides& overrides) {
    constexpr std::string_view kKey = "fsdp_shard_size=";
    for (const std::string& each : overrides) {
        if (each.starts_with(kKey)) return std::stoi(each.substr(kKey.size()));
    }
    return 0;
}

Outcome train(const Overrides& overrides, int ranks) {
    Outcome outcome;
    std::mutex mutex;
    const data::TokenDataset validation =
        data::TokenDataset::open("builtin", data::Split::validation);
    LocalWorld world(ranks, shard_size_in(overrides));
    const auto run_rank = [&](int rank) {
        TestRun run(overrides, ranks, ranks == 1 ? CommunicatorFactory{} : world.connector(rank));
        std::vector<double> losses;
        std::vector<double> norms;
        for (std::int64_t iteration = 0; iteration < kIterations; ++iteration) {
            const IterationOutcome step = run.iterate(iteration);
            losses.push_back(step.loss);
            norms.push_back(step.grad_norm);
        }
        const data::EvalSampler windows(validation,
                                        run.session.plan().config.execution.sequence_length);
        const double loss = run.session.evaluate_windows(windows, 0, 15).mean();
        const std::lock_guard<std::mutex> lock(mutex);
        if (!outcome.losses.empty()) {  // every rank reports the same
            EXPECT_EQ(losses, outcome.losses);
            EXPECT_EQ(loss, outcome.validation_loss);
        }
        outcome.losses = losses;
        outcome.norms = norms;
        outcome.validation_loss = loss;
        collect(run.session.weight_tensors(), outcome.weights);
        collect(run.session.optimizer_tensors(), outcome.moments);
    };
    comm::run_threads(ranks, run_rank);
    return outcome;
}

struct StrategyCase {
    std::string name;
    Overrides overrides;
};

void PrintTo(const StrategyCase& strategy, std::ostream* out) {
    *out << strategy.name;
}

const std::vector<StrategyCase>& strategies() {
    static const std::vector<StrategyCase> cases = {
        {"ddp", {}},
        {"ddp_small_buckets", {"ddp_bucket_mb=0"}},
        {"zero1", {"use_zero1=true"}},
        {"fsdp", {"use_fsdp=true"}},
        {"fsdp_kept", {"use_fsdp=true", "fsdp_reshard_after_forward=false"}}};
    return cases;
}

struct RunCase {
    std::string name;
    Overrides overrides;
};

void PrintTo(const RunCase& run, std::ostream* out) {
    *out << run.name;
}

const std::vector<RunCase>& runs() {
    static const std::vector<RunCase> cases = {
        {"llama", {"arch_preset=llama", "gradient_accumulation_steps=4", "grad_clip=0"}},
        {"llama_accumulated",
         {"arch_preset=llama", "gradient_accumulation_steps=16", "grad_clip=0.05", "n_kv_head=2"}},
        {"gpt2_recompute",
         {"arch_preset=gpt2", "gradient_accumulation_steps=8", "recompute=block", "dropout=0.1",
          "bias=true"}},
        {"qwen3_untied",
         {"arch_preset=qwen3", "gradient_accumulation_steps=4", "weight_tying=false",
          "recompute=attention", "attention_backend=manual"}}};
    return cases;
}

class DataParallelRuns : public ::testing::TestWithParam<std::tuple<StrategyCase, RunCase, int>> {
protected:
    [[nodiscard]] static Overrides overrides(Overrides more = {}) {
        const auto& [strategy, run, ranks] = GetParam();
        Overrides all = tiny_run(run.overrides);
        all.insert(all.end(), strategy.overrides.begin(), strategy.overrides.end());
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    [[nodiscard]] static Overrides single() { return tiny_run(std::get<1>(GetParam()).overrides); }
};

TEST_P(DataParallelRuns, EqualOneRankBitForBit) {
    const int ranks = std::get<2>(GetParam());
    const Outcome one = train(single(), 1);
    const Outcome several = train(overrides(), ranks);
    EXPECT_EQ(several.losses, one.losses);
    EXPECT_EQ(several.norms, one.norms);
    EXPECT_EQ(several.validation_loss, one.validation_loss);
    EXPECT_EQ(several.weights, one.weights);
    EXPECT_EQ(several.moments, one.moments);
}

const auto kParameterName = [](const auto& parameter) {
    return std::get<0>(parameter.param).name + "_" + std::get<1>(parameter.param).name + "_" +
           std::to_string(std::get<2>(parameter.param)) + "_ranks";
};

INSTANTIATE_TEST_SUITE_P(PowersOfTwo, DataParallelRuns,
                         ::testing::Combine(::testing::ValuesIn(strategies()),
                                            ::testing::ValuesIn(runs()), ::testing::Values(2, 4)),
                         kParameterName);

const std::vector<StrategyCase>& hybrid_strategies() {
    static const std::vector<StrategyCase> cases = {
        {"hybrid_of_2", {"use_fsdp=true", "fsdp_shard_size=2"}},
        {"hybrid_of_2_kept",
         {"use_fsdp=true", "fsdp_shard_size=2", "fsdp_reshard_after_forward=false"}}};
    return cases;
}

INSTANTIATE_TEST_SUITE_P(Hybrid, DataParallelRuns,
                         ::testing::Combine(::testing::ValuesIn(hybrid_strategies()),
                                            ::testing::ValuesIn(runs()), ::testing::Values(4)),
                         kParameterName);

/// Largest relative difference of losses.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(b[i]));
    return worst;
}

class StrategyRuns : public ::testing::TestWithParam<StrategyCase> {
protected:
    /// Hybrid sharding is for several copies.
    [[nodiscard]] static std::vector<int> rank_counts(const std::vector<int>& plain) {
        return shard_size_in(GetParam().overrides) > 0 ? std::vector<int>{4, 6} : plain;
    }
};
class UnevenRuns : public ::testing::TestWithParam<StrategyCase> {};

TEST_P(UnevenRuns, ThreeRanksAgreeWithOne) {
    Overrides run = tiny_run({"arch_preset=llama", "gradient_accumulation_steps=6"});
    const Outcome one = train(run, 1);
    run.insert(run.end(), GetParam().overrides.begin(), GetParam().overrides.end());
    EXPECT_LE(difference(train(run, 3).losses, one.losses), 1e-6);
}

TEST_P(UnevenRuns, WithoutReproducibleModeTheyAgreeToRounding) {
    Overrides run = tiny_run({"arch_preset=llama", "gradient_accumulation_steps=8"});
    const Outcome one = train(run, 1);
    run.push_back("reproducible=false");
    run.insert(run.end(), GetParam().overrides.begin(), GetParam().overrides.end());
    EXPECT_LE(difference(train(run, 2).losses, one.losses), 1e-6);
    EXPECT_LE(difference(train(run, 1).losses, one.losses), 1e-6);
}

/// Bytes that the collectives of one iteration send, against the plan.
TEST_P(StrategyRuns, TrafficIsAsPlanned) {
    for (const int ranks : rank_counts({2, 3, 4})) {
        for (const char* tying : {"weight_tying=true", "weight_tying=false"}) {
            Overrides run = tiny_run(
                {"arch_preset=llama", "gradient_accumulation_steps=12", "n_layer=3", tying});
            run.insert(run.end(), GetParam().overrides.begin(), GetParam().overrides.end());
            LocalWorld world(ranks, shard_size_in(run));
            comm::run_threads(ranks, [&](int rank) {
                TestRun one(run, ranks, world.connector(rank));
                const auto sent = [&] {
                    return one.session.communication_totals().tensor_bytes_sent();
                };
                (void)one.iterate(0);
                (void)one.session.whole_weights();  // waits for weights under way
                comm::meet(*one.session.communicator());
                const std::uint64_t before = sent();
                (void)one.iterate(1);
                one.session.synchronize();
                const auto planned = cost::communication_per_step(
                    one.session.plan().layout, one.session.plan().config.execution);
                EXPECT_EQ(sent() - before, cost::total_bytes_sent(planned)) << ranks << tying;
            });
        }
    }
}

/// The arena is as planned for every rank, and a rank holds no more state than its share.
TEST_P(StrategyRuns, MemoryIsAsPlanned) {
    for (const int ranks : rank_counts({1, 2, 3, 4})) {
        Overrides run = tiny_run({"arch_preset=llama", "gradient_accumulation_steps=12"});
        run.insert(run.end(), GetParam().overrides.begin(), GetParam().overrides.end());
        LocalWorld world(ranks, shard_size_in(run));
        comm::run_threads(ranks, [&](int rank) {
            TestRun one(run, ranks, ranks == 1 ? CommunicatorFactory{} : world.connector(rank));
            const recipe::RunPlan& plan = one.session.plan();
            EXPECT_EQ(one.session.memory().bytes(), plan.memory.arena_bytes);
            std::uint64_t moments = 0;
            for (const sharding::StateSlice& slice : one.session.strategy().slices()) {
                for (const optimizer::StateView& state : slice.optimizer_state)
                    moments += state.values.bytes();
            }
            EXPECT_EQ(moments, plan.memory.peak_by_category()[static_cast<std::size_t>(
                                   cost::MemoryCategory::optimizer_moments)]);
        });
    }
}

/// One weight of one rank changes by one bit in its last place.
TEST_P(UnevenRuns, DriftOfAReplicaIsFound) {
    Overrides run = tiny_run({"arch_preset=llama", "gradient_accumulation_steps=3"});
    run.insert(run.end(), GetParam().overrides.begin(), GetParam().overrides.end());
    const bool has_copies = GetParam().name.find("fsdp") == std::string::npos;
    auto group = comm::make_local_group(3, comm::kTestTimeoutSeconds);
    comm::run_threads(3, [&](int rank) {
        TestRun one(run, std::move(group[static_cast<std::size_t>(rank)]));
        (void)one.iterate(0);
        EXPECT_NO_THROW(one.session.verify_replicas());
        if (!has_copies) return;
        if (rank == 2) {
            float& weight = one.session.whole_weights().view.as<float>()[40];
            weight = std::nextafter(weight, 1.0F);
        }
        try {
            one.session.verify_replicas();
            ADD_FAILURE() << "not found by rank " << rank;
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), ExitCode::check_failed);
            EXPECT_NE(std::string(error.what()).find("rank 2"), std::string::npos) << error.what();
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Strategies, UnevenRuns, ::testing::ValuesIn(strategies()),
                         [](const auto& parameter) { return parameter.param.name; });

INSTANTIATE_TEST_SUITE_P(Strategies, StrategyRuns, ::testing::ValuesIn(strategies()),
                         [](const auto& parameter) { return parameter.param.name; });
INSTANTIATE_TEST_SUITE_P(Hybrid, StrategyRuns, ::testing::ValuesIn(hybrid_strategies()),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(HybridSharding, RefusesShardsThatDoNotDivideTheRanks) {
    const Overrides run = tiny_run({"use_fsdp=true", "gradient_accumulation_steps=12"});
    for (const auto& [size, ranks] : {std::pair{3, 4}, std::pair{1, 4}, std::pair{8, 4}}) {
        Overrides wrong = run;
        wrong.push_back("fsdp_shard_size=" + std::to_string(size));
        EXPECT_THROW((void)config_of(wrong, ranks), ConfigError) << size;
    }
    Overrides all = run;
    all.push_back("fsdp_shard_size=4");
    EXPECT_EQ(config_of(all, 4).execution.replicas(), 1);
}

}  // namespace
}  // namespace isoflop::trainer
