// Activation buffers of one block; internal to the cost layer.
#pragma once

#include <cstdint>
#include <vector>

#include "isoflop/cost/memory_plan.hpp"

namespace isoflop::cost {

/// Everything that backward of one block reads, before recomputation drops any of it.
[[nodiscard]] std::vector<Buffer> block_activations(const model::ModelConfig& config,
                                                    const Execution& execution, bool moe_layer);

/// Bytes of one block that recomputation brings back during its backward.
[[nodiscard]] std::uint64_t recomputed_bytes(const model::ModelConfig& config, const Execution& execution,
                                             bool moe_layer);

/// Buffers live while one block runs forward, besides what it saves.
[[nodiscard]] std::vector<Buffer> forward_scratch(const model::ModelConfig& config, const Execution& execution);

/// Buffers live while one block runs backward, besides what forward saved.
[[nodiscard]] std::vector<Buffer> backward_scratch(const model::ModelConfig& config,
                                                   const Execution& execution, bool moe_layer);

}  // namespace isoflop::cost
