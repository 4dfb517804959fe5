// Losses without gradients: micro-batches of windows are distributed over the ranks in turn.
#include <algorithm>

#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

transformer::LossSum Session::evaluate_batch(std::uint64_t first, std::size_t rows,
                                             const FillBatch& fill) {
    const auto S = static_cast<std::size_t>(plan_.config.execution.sequence_length);
    const std::span<std::int32_t> inputs = host_ids(0, rows * S);
    const std::span<std::int32_t> targets = host_ids(1, rows * S);
    for (std::size_t row = 0; row < rows; ++row)
        fill(first + row, inputs.subspan(row * S, S), targets.subspan(row * S, S));
    return transformer_.evaluate({.tokens = inputs, .targets = targets});
}

transformer::LossSum Session::evaluate(std::uint64_t first, std::uint64_t count,
                                       const FillBatch& fill) {
    const auto B = static_cast<std::uint64_t>(plan_.config.execution.micro_batch_size);
    const std::uint64_t batches = (count + B - 1) / B;
    const auto ranks = static_cast<std::uint64_t>(communicator_ ? communicator_->size() : 1);
    const auto rank = static_cast<std::uint64_t>(communicator_ ? communicator_->rank() : 0);
    std::vector<MicroBatchLoss> losses;
    for (std::uint64_t round = 0; round * ranks < batches; ++round) {
        const std::uint64_t batch = round * ranks + rank;
        // The forward pass may gather weights, which needs all ranks: a rank without a batch
        // repeats the last one.
        const std::uint64_t computed = std::min(batch, batches - 1);
        const auto rows = static_cast<std::size_t>(std::min(B, count - computed * B));
        transformer::LossSum loss = evaluate_batch(first + computed * B, rows, fill);
        if (computed != batch) loss = {};
        losses.push_back({static_cast<std::int64_t>(batch), loss});
    }
    return sum_losses(losses);
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

}  // namespace isoflop::trainer
