// The order of training samples, and the windows of an evaluation, as pure functions. Sample n of a
// run (n = step x global batch + position in it) is the same on every rank and thread, and a
// resumed run continues with the next n. Within a source, each epoch visits every window once in a
// permuted order; from the second epoch on the windows begin at an offset drawn for that epoch (the
// source read as a ring), so that a model that sees small data many times does not see the same
// cuts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "isoflop/data/mixing.hpp"
#include "isoflop/data/token_dataset.hpp"

namespace isoflop::data {

class BatchSampler {
public:
    /// The dataset must outlive the sampler. Throws ConfigError when a source is shorter than one
    /// window.
    BatchSampler(const TokenDataset& dataset, std::int64_t block_size, std::uint64_t seed);

    struct Position {
        std::size_t source = 0;
        std::uint64_t epoch = 0;
        std::uint64_t window = 0;
        std::uint64_t first_token = 0;  ///< of the source; the window may wrap to its beginning
    };
    [[nodiscard]] Position position(std::uint64_t sample_index) const;

    /// inputs = tokens 0 .. block_size-1 of the window, targets = tokens 1 .. block_size. Both
    /// spans have block_size elements. Safe from several threads. Throws IoError on damaged data.
    void fill(std::uint64_t sample_index, std::span<std::int32_t> inputs,
              std::span<std::int32_t> targets) const;

    [[nodiscard]] std::int64_t block_size() const { return block_size_; }

private:
    const TokenDataset* dataset_;
    std::int64_t block_size_;
    std::uint64_t seed_;
    MixingSchedule schedule_;
};

/// A range of one source: `length` inputs from `first_token` on, and as many targets one further.
struct EvalWindow {
    std::size_t source = 0;
    std::uint64_t first_token = 0;
    std::int64_t length = 0;
};

enum class LastWindow {
    skip,  ///< only full windows
    keep,  ///< also the shorter last one of each source: then every token but a source's first is a
           ///< target once
};

/// The windows of a held-out set in order, source after source.
class EvalSampler {
public:
    /// The dataset must outlive the sampler. Throws ConfigError when there is no window at all.
    EvalSampler(const TokenDataset& dataset, std::int64_t block_size,
                LastWindow last_window = LastWindow::keep);

    [[nodiscard]] std::uint64_t num_windows() const { return num_windows_; }
    [[nodiscard]] EvalWindow eval_window(std::uint64_t index) const;

    /// Fills both spans (block_size elements each) and returns the window's length. Beyond it,
    /// inputs are 0 and targets are `ignored_target`, which the loss skips.
    std::int64_t fill(std::uint64_t index, std::span<std::int32_t> inputs,
                      std::span<std::int32_t> targets, std::int32_t ignored_target = -100) const;

private:
    const TokenDataset* dataset_;
    std::int64_t block_size_;
    LastWindow last_window_;
    std::uint64_t num_windows_ = 0;
};

}  // namespace isoflop::data
