// Normal deviates that depend on (seed, stream, index) alone: the same initial weights on any
// number of threads and ranks.
#pragma once

#include <cstdint>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// x[i] = deviation * z_(first + i) with z from the standard normal distribution, so that a part of
/// a tensor gets the same values as in the whole. Philox counter i / 4 of the stream gives four z_i
/// (Box & Muller 1958, on two pairs of words).
void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 std::int64_t first, const TensorView& x);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::fill_normal) fill_normal;
}  // namespace cpu
namespace cuda {
decltype(ops::fill_normal) fill_normal;
}  // namespace cuda

}  // namespace isoflop::ops
