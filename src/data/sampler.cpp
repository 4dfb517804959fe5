#include "isoflop/data/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "data/sample_random.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/data/permutation.hpp"

namespace isoflop::data {
namespace {

void check_block_size(std::int64_t block_size) {
    if (block_size < 1)
        throw ConfigError(fmt::format("block_size must be at least 1; found {}", block_size));
}

void check_spans(std::int64_t block_size, std::span<const std::int32_t> inputs,
                 std::span<const std::int32_t> targets) {
    const auto expected = static_cast<std::size_t>(block_size);
    if (inputs.size() == expected && targets.size() == expected) return;
    throw std::invalid_argument(
        fmt::format("a sample has {} inputs and targets; room for {} and {}", expected,
                    inputs.size(), targets.size()));
}

/// tokens[i] = ring[(first + i) mod size]
void copy_from_ring(const TokenDataset& dataset, std::size_t source, std::uint64_t first,
                    std::span<std::int32_t> tokens) {
    const std::uint64_t size = dataset.sources()[source].size();
    while (!tokens.empty()) {
        first %= size;
        const std::size_t count = std::min<std::uint64_t>(tokens.size(), size - first);
        dataset.copy(source, first, tokens.first(count));
        tokens = tokens.subspan(count);
        first += count;
    }
}

/// targets = inputs shifted by one, and the token after them.
void fill_window(const TokenDataset& dataset, std::size_t source, std::uint64_t first,
                 std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
    copy_from_ring(dataset, source, first, inputs);
    std::copy(inputs.begin() + 1, inputs.end(), targets.begin());
    copy_from_ring(dataset, source, first + inputs.size(), targets.last(1));
}

}  // namespace

BatchSampler::BatchSampler(const TokenDataset& dataset, std::int64_t block_size, std::uint64_t seed)
    : dataset_(&dataset), block_size_(block_size), seed_(seed), schedule_(dataset.weights()) {
    check_block_size(block_size);
    for (const TokenSource& source : dataset.sources()) {
        if (source.num_windows(block_size) > 0) continue;
        throw ConfigError(
            fmt::format("'{}' has {} tokens; block_size {} needs at least {}: use more data or a "
                        "smaller block_size",
                        source.location(), source.size(), block_size, block_size + 1));
    }
}

BatchSampler::Position BatchSampler::position(std::uint64_t sample_index) const {
    const MixingSchedule::Pick pick = schedule_.pick(sample_index);
    const TokenSource& source = dataset_->sources()[pick.source];
    const std::uint64_t windows = source.num_windows(block_size_);
    const std::uint64_t epoch = pick.index / windows;
    const auto stream = static_cast<std::uint32_t>(pick.source);
    const std::uint64_t window = Permutation(windows, seed_, epoch, stream)(pick.index % windows);

    const auto block_size = static_cast<std::uint64_t>(block_size_);
    const std::uint64_t offset =
        epoch == 0 ? 0 : sample_random(seed_, stream, epoch, kEpochOffsetPurpose, 0) % block_size;
    return {.source = pick.source,
            .epoch = epoch,
            .window = window,
            .first_token = (window * block_size + offset) % source.size()};
}

void BatchSampler::fill(std::uint64_t sample_index, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) const {
    check_spans(block_size_, inputs, targets);
    const Position place = position(sample_index);
    fill_window(*dataset_, place.source, place.first_token, inputs, targets);
}

namespace {

/// Windows of a source of `size` tokens, of which the last may be short.
std::uint64_t eval_windows(std::uint64_t size, std::uint64_t block_size, LastWindow last_window) {
    const std::uint64_t targets = size > 0 ? size - 1 : 0;
    return last_window == LastWindow::keep ? (targets + block_size - 1) / block_size
                                           : targets / block_size;
}

}  // namespace

EvalSampler::EvalSampler(const TokenDataset& dataset, std::int64_t block_size,
                         LastWindow last_window)
    : dataset_(&dataset), block_size_(block_size), last_window_(last_window) {
    check_block_size(block_size);
    for (const TokenSource& source : dataset.sources()) {
        num_windows_ +=
            eval_windows(source.size(), static_cast<std::uint64_t>(block_size), last_window);
    }
    if (num_windows_ == 0) {
        throw ConfigError(fmt::format(
            "the validation data has {} tokens, too few for one window of block_size {}",
            dataset.size(), block_size));
    }
}

EvalWindow EvalSampler::eval_window(std::uint64_t index) const {
    const auto block_size = static_cast<std::uint64_t>(block_size_);
    std::uint64_t within = index;
    for (std::size_t source = 0; source < dataset_->sources().size(); ++source) {
        const std::uint64_t size = dataset_->sources()[source].size();
        const std::uint64_t windows = eval_windows(size, block_size, last_window_);
        if (within < windows) {
            const std::uint64_t first = within * block_size;
            return {source, first,
                    static_cast<std::int64_t>(std::min(block_size, size - 1 - first))};
        }
        within -= windows;
    }
    throw std::out_of_range(fmt::format("evaluation window {} of {}", index, num_windows_));
}

std::int64_t EvalSampler::fill(std::uint64_t index, std::span<std::int32_t> inputs,
                               std::span<std::int32_t> targets, std::int32_t ignored_target) const {
    check_spans(block_size_, inputs, targets);
    const EvalWindow window = eval_window(index);
    const auto length = static_cast<std::size_t>(window.length);
    fill_window(*dataset_, window.source, window.first_token, inputs.first(length),
                targets.first(length));
    std::fill(inputs.begin() + window.length, inputs.end(), 0);
    std::fill(targets.begin() + window.length, targets.end(), ignored_target);
    return window.length;
}

}  // namespace isoflop::data
