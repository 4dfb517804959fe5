// Positions of a batch sorted by token, on a GPU.
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/device/context.hpp"

namespace isoflop::ops::cuda {

/// keys become token * 2^32 + position, in rising order, then keys without a token that are larger.
/// Returns how many keys are used in all: the power of two that is not below the number of tokens.
std::int64_t sort_by_token(device::Context& context, std::span<const std::int32_t> tokens,
                           std::uint64_t* keys);

}  // namespace isoflop::ops::cuda
