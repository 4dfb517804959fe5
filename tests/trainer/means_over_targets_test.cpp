// Targets may be ignored: loss and gradient are one mean over the counted targets of an iteration,
// however its sequences are split over micro-batches and ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/local_ranks.hpp"
#include "data/data_test_support.hpp"
#include "session_test_support.hpp"

namespace isoflop::trainer {
namespace {

/// Updates that are nearly -learning_rate x gradient: AdamW whose eps is far above the gradients.
/// About every sixth target of the built-in text is a space.
Overrides gradient_descent(const Overrides& more = {}) {
    Overrides all = tiny_run({"ignore_index=32", "batch_size=4", "learning_rate=0.001",
                              "adam_eps=1", "weight_decay=0", "grad_clip=0"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

TEST(MeansOverTargets, TheGradientIsThatOfTheMeanOverCountedTargets) {
    TestRun run(gradient_descent());
    const auto mean = [&] { return run.session.evaluate_samples(run.samples, 0, 4).mean(); };
    const double before = mean();
    const IterationOutcome outcome = run.iterate(0);
    EXPECT_NEAR(outcome.loss, before, 1e-6);
    // A small step of gradient descent lowers the loss by learning_rate x |gradient|^2; eps takes
    // 5 % from it. With a gradient divided by all tokens it would be 20 % more.
    const double square = outcome.grad_norm * outcome.grad_norm;
    EXPECT_NEAR((before - mean()) / 0.001, square, 0.1 * square);
}

TEST(MeansOverTargets, AnySplitGivesTheSameMean) {
    const IterationOutcome whole = TestRun(gradient_descent()).iterate(0);
    const Overrides split = gradient_descent({"batch_size=1", "gradient_accumulation_steps=4"});
    const IterationOutcome by_sequence = TestRun(split).iterate(0);
    EXPECT_NEAR(by_sequence.loss, whole.loss, 1e-6);
    EXPECT_NEAR(by_sequence.grad_norm, whole.grad_norm, 1e-5 * whole.grad_norm);

    LocalWorld world(2);
    std::mutex mutex;
    std::vector<IterationOutcome> of_ranks;
    comm::run_threads(2, [&](int rank) {
        const IterationOutcome outcome = TestRun(split, 2, world.connector(rank)).iterate(0);
        const std::lock_guard<std::mutex> lock(mutex);
        of_ranks.push_back(outcome);
    });
    for (const IterationOutcome& outcome : of_ranks) {
        EXPECT_EQ(outcome.loss, by_sequence.loss);
        EXPECT_NEAR(outcome.grad_norm, by_sequence.grad_norm, 1e-5 * whole.grad_norm);
    }
}

/// A run over data that consist of one token.
class OneToken {
public:
    explicit OneToken(const Overrides& more) {
        const std::vector<std::uint16_t> tokens(1000, 7);
        test::write_file(folder_ / "train.bin", test::bytes_of<std::uint16_t>(tokens));
        data_.emplace(
            data::TokenDataset::open((folder_ / "train.bin").string(), data::Split::train));
        session_.emplace(plan_of(tiny_run(more)), pool_);
        session_->initialize_from_scratch();
        samples_.emplace(*data_, session_->plan().config.execution.sequence_length, 1);
    }
    [[nodiscard]] Session& session() { return *session_; }
    [[nodiscard]] const data::BatchSampler& samples() const { return *samples_; }
    [[nodiscard]] std::vector<float> weights() {
        const device::HostTensor whole = session_->whole_weights();
        const auto values = whole.view.as<float>();
        return {values.begin(), values.end()};
    }

private:
    test::TemporaryDirectory folder_;
    device::ThreadPool pool_{1};
    std::optional<data::TokenDataset> data_;
    std::optional<Session> session_;
    std::optional<data::BatchSampler> samples_;
};

TEST(MeansOverTargets, AnIterationWithoutTargetsChangesNothing) {
    OneToken run({"ignore_index=7"});
    const std::vector<float> before = run.weights();
    const IterationOutcome outcome = run.session().train_iteration(0, run.samples(), true);
    EXPECT_TRUE(outcome.without_targets);
    EXPECT_TRUE(outcome.skipped);
    EXPECT_TRUE(std::isnan(outcome.loss));
    EXPECT_EQ(outcome.grad_norm, 0);
    EXPECT_EQ(run.session().updates(), 0);
    EXPECT_EQ(run.weights(), before);
    EXPECT_TRUE(std::isnan(run.session().evaluate_samples(run.samples(), 0, 4).mean()));
}

TEST(MeansOverTargets, TheSameDataWithAnotherIgnoredTargetAreLearned) {
    OneToken run({"ignore_index=8"});
    const IterationOutcome outcome = run.session().train_iteration(0, run.samples(), true);
    EXPECT_FALSE(outcome.without_targets);
    EXPECT_GT(outcome.grad_norm, 0);
    EXPECT_EQ(run.session().updates(), 1);
}

}  // namespace
}  // namespace isoflop::trainer
