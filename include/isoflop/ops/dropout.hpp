// Dropout without stored masks: the mask of element i is a pure function of (seed, step,
// micro-batch, layer, site, i), by the counter-based Philox-4x32-10 generator (Salmon 2011), so
// backward regenerates it and thread or rank counts do not matter.
#pragma once

#include <cstdint>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

enum class DropoutSite : std::uint32_t { embedding = 0, attention_branch = 1, ffn_branch = 2 };

struct DropoutKey {
    std::uint64_t seed = 0;
    std::uint64_t step = 0;
    std::uint64_t first_sequence =
        0;  ///< global index, within the step, of the micro-batch's first sequence
    std::uint32_t layer = 0;
    DropoutSite site = DropoutSite::embedding;
};

/// x[t, h] = kept ? x / (1 - probability) : 0, in place; the same call on a gradient is its
/// backward. The counter of an element is (global sequence, position in sequence, h), so splitting
/// a batch differently keeps every mask. x [T, H] with T a multiple of sequence_length. No-op when
/// probability is 0.
void dropout(Context& context, const DropoutKey& key, double probability,
             std::int64_t sequence_length, const TensorView& x);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::dropout) dropout;
}  // namespace cpu
namespace cuda {
decltype(ops::dropout) dropout;
}  // namespace cuda

}  // namespace isoflop::ops
