// Token (and learned position) embedding.
//
// Conventions of every op: outputs are overwritten, parameter gradients are accumulated (+=).
// Shapes: T tokens of a micro-batch (B sequences of S, row b*S+s), H hidden, V vocabulary.
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// out[t] = table[tokens[t]] (+ positions[t mod S + first_position] when `positions` is not empty).
/// table [V, H], positions [P, H], out [T, H]. Tokens are in the memory that the tensors are in.
/// Ids must lie in [0, V): checked on the host, std::out_of_range.
void embedding_forward(Context& context, std::span<const std::int32_t> tokens,
                       const TensorView& table, const TensorView& positions,
                       std::int64_t sequence_length, std::int64_t first_position,
                       const TensorView& out);

/// Throws std::out_of_range for an id that is neither in [0, vocab_size) nor *also_allowed. Code
/// that copies ids to device memory calls this, as the ops cannot check ids there.
void require_token_ids(std::span<const std::int32_t> ids, std::int64_t vocab_size,
                       const std::int32_t* also_allowed);

/// d_table[tokens[t]] += d_out[t]; d_positions[t mod S] += d_out[t]. Rows with several
/// contributions are summed in token order, for any number of threads.
void embedding_backward(Context& context, std::span<const std::int32_t> tokens,
                        const TensorView& d_out, std::int64_t sequence_length,
                        const TensorView& d_table, const TensorView& d_positions);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::embedding_forward) embedding_forward;
decltype(ops::embedding_backward) embedding_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::embedding_forward) embedding_forward;
decltype(ops::embedding_backward) embedding_backward;
}  // namespace cuda

}  // namespace isoflop::ops
