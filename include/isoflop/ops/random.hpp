// Normal deviates that depend on (seed, stream, index) alone: the same initial weights on any
// number of threads and ranks.
#pragma once

#include <cstdint>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// x[i] = deviation * z_i with z_i from the standard normal distribution. Philox counter i / 4 of
/// the stream gives four of them (Box & Muller 1958, on two pairs of words).
void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 const TensorView& x);

}  // namespace isoflop::ops
