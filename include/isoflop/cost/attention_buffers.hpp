// What attention of one layer needs beside its inputs, outputs and their gradients: the memory plan
// and the comparison of backends take it from here.
#pragma once

#include <vector>

#include "isoflop/cost/attention_workspace.hpp"
#include "isoflop/cost/memory_plan.hpp"

namespace isoflop::cost {

/// For execution.attention_backend and its types, device and determinism; sizes are those of
/// `size`, for any size of the execution. Lifetime::step: saved by forward; backward_attention:
/// scratch of backward.
[[nodiscard]] std::vector<Buffer> attention_buffers(const AttentionSize& size,
                                                    const Execution& execution);

}  // namespace isoflop::cost
