// Losses without gradients: micro-batches of windows are distributed over the ranks in turn.
#include <algorithm>
#include <array>
#include <chrono>

#include "isoflop/base/stop.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

namespace {

/// Asks all ranks about once a second whether one of them is to stop. As the answer of the slowest
/// rank decides when to ask again, all ask before the same rounds.
class StopQuestions {
public:
    explicit StopQuestions(comm::Communicator* ranks) : ranks_(ranks) {}

    /// Throws Stopped on all ranks, or on none.
    void before_round() {
        if (rounds_left_ > 0) {
            --rounds_left_;
            return;
        }
        const Clock::time_point now = Clock::now();
        const std::array<double, 2> mine{stop_requested() ? 1.0 : 0.0,
                                         std::chrono::duration<double>(now - asked_).count()};
        asked_ = now;
        std::vector<double> all(mine.begin(), mine.end());
        if (ranks_ != nullptr) all = ranks_->gather_values(mine);
        double seconds = 0;
        for (std::size_t i = 0; i + 1 < all.size(); i += mine.size()) {
            if (all[i] != 0) throw Stopped("evaluating");
            seconds = std::max(seconds, all[i + 1]);
        }
        if (seconds < 0.5) rounds_ = std::min(2 * rounds_, kMostRounds);
        if (seconds > 1) rounds_ = 1;
        rounds_left_ = rounds_ - 1;
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::int64_t kMostRounds = 1 << 16;

    comm::Communicator* ranks_;
    Clock::time_point asked_ = Clock::now();
    std::int64_t rounds_ = 1;  ///< from one question to the next
    std::int64_t rounds_left_ = 0;
};

}  // namespace

transformer::LossSum Session::evaluate_batch(std::uint64_t first, std::size_t rows,
                                             const FillBatch& fill) {
    const auto S = static_cast<std::size_t>(plan_.config.execution.sequence_length);
    const std::span<std::int32_t> inputs = host_ids(0, rows * S);
    const std::span<std::int32_t> targets = host_ids(1, rows * S);
    for (std::size_t row = 0; row < rows; ++row)
        fill(first + row, inputs.subspan(row * S, S), targets.subspan(row * S, S));
    return transformer_.evaluate({.tokens = inputs, .targets = targets});
}

std::vector<Session::EvaluationBatch> Session::evaluation_batches(std::uint64_t count) const {
    const auto B = static_cast<std::uint64_t>(plan_.config.execution.micro_batch_size);
    const std::uint64_t batches = (count + B - 1) / B;
    const auto ranks = static_cast<std::uint64_t>(communicator_ ? communicator_->size() : 1);
    const auto rank = static_cast<std::uint64_t>(communicator_ ? communicator_->rank() : 0);
    std::vector<EvaluationBatch> mine;
    for (std::uint64_t round = 0; round * ranks < batches; ++round) {
        const std::uint64_t batch = round * ranks + rank;
        // The forward pass may gather weights, which needs all ranks: a rank without a batch
        // repeats the last one.
        const std::uint64_t computed = std::min(batch, batches - 1);
        mine.push_back({.index = batch,
                        .first = computed * B,
                        .rows = static_cast<std::size_t>(std::min(B, count - computed * B)),
                        .counted = computed == batch});
    }
    return mine;
}

transformer::LossSum Session::evaluate(std::uint64_t first, std::uint64_t count,
                                       const FillBatch& fill) {
    std::vector<MicroBatchLoss> losses;
    StopQuestions stop(communicator_.get());
    for (const EvaluationBatch& batch : evaluation_batches(count)) {
        stop.before_round();
        transformer::LossSum loss = evaluate_batch(first + batch.first, batch.rows, fill);
        if (!batch.counted) loss = {};
        losses.push_back({static_cast<std::int64_t>(batch.index), loss});
    }
    return sum_losses(losses);
}

void Session::read_only(std::uint64_t first, std::uint64_t count, const FillBatch& fill) const {
    const auto S = static_cast<std::size_t>(plan_.config.execution.sequence_length);
    std::vector<std::int32_t> ids(2 * S);
    const std::span<std::int32_t> room = ids;
    for (const EvaluationBatch& batch : evaluation_batches(count)) {
        if (stop_requested()) return;
        for (std::size_t row = 0; row < batch.rows; ++row)
            fill(first + batch.first + row, room.first(S), room.last(S));
    }
}

transformer::LossSum Session::evaluate_windows(const data::EvalSampler& samples,
                                               std::uint64_t first, std::uint64_t count) {
    const auto ignore = static_cast<std::int32_t>(plan_.config.keys.data.ignore_index);
    return evaluate(
        first, count,
        [&](std::uint64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
            samples.fill(index, inputs, targets, ignore);
        });
}

transformer::LossSum Session::evaluate_samples(const data::BatchSampler& samples,
                                               std::uint64_t first, std::uint64_t count) {
    return evaluate(first, count,
                    [&](std::uint64_t index, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) { samples.fill(index, inputs, targets); });
}

void Session::read_windows(const data::EvalSampler& samples, std::uint64_t first,
                           std::uint64_t count) const {
    const auto ignore = static_cast<std::int32_t>(plan_.config.keys.data.ignore_index);
    read_only(
        first, count,
        [&](std::uint64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
            samples.fill(index, inputs, targets, ignore);
        });
}

void Session::read_samples(const data::BatchSampler& samples, std::uint64_t first,
                           std::uint64_t count) const {
    read_only(first, count,
              [&](std::uint64_t index, std::span<std::int32_t> inputs,
                  std::span<std::int32_t> targets) { samples.fill(index, inputs, targets); });
}

void Session::read_iteration(std::int64_t iteration, const data::BatchSampler& samples) const {
    const recipe::Recipe& config = plan_.config;
    const auto S = static_cast<std::size_t>(config.execution.sequence_length);
    std::vector<std::int32_t> ids(2 * S);
    const std::span<std::int32_t> room = ids;
    for (std::int64_t step = 0; step < config.micro_steps; ++step) {
        const std::uint64_t first = first_sample(iteration, strategy_->global_micro_step(step));
        for (std::int64_t b = 0; b < config.execution.micro_batch_size; ++b)
            samples.fill(first + static_cast<std::uint64_t>(b), room.first(S), room.last(S));
    }
}

}  // namespace isoflop::trainer
