// The backward of the embedding with a limit on its scratch memory, for tests of batches that do
// not fit.
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/ops/embedding.hpp"

namespace isoflop::ops::cuda {

/// As embedding_backward, with at most `scratch_bytes` (at least 8 KiB) of scratch memory.
void embedding_backward_within(Context& context, std::int64_t scratch_bytes,
                               std::span<const std::int32_t> tokens, const TensorView& d_out,
                               std::int64_t sequence_length, const TensorView& d_table,
                               const TensorView& d_positions);

}  // namespace isoflop::ops::cuda
