// The learning rate as a function of the iteration.
#pragma once

#include <cstdint>

#include "isoflop/recipe/recipe.hpp"

namespace isoflop::trainer {

/// Iterations count from 0; lr(0) > 0.
///   warm-up   lr (i+1) / (warmup+1)               for i < warmup
///   cosine    min + (lr-min) (1 + cos(pi p)) / 2  p = (i-warmup) / (decay-warmup)
///   linear    min + (lr-min) (1 - p)
///   wsd       lr, then linear to min over the last wsd_decay_fraction of `decay`
///             (Hu 2024, arXiv 2404.06395)
///   constant  lr
/// and min after lr_decay_iters (all but constant).
[[nodiscard]] double learning_rate(const recipe::Recipe& config, std::int64_t iteration);

}  // namespace isoflop::trainer
