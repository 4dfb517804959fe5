// Activation buffers of one block; internal to the cost layer.
#pragma once

#include <cstdint>
#include <vector>

#include "isoflop/cost/memory_plan.hpp"

namespace isoflop::cost {

/// Everything that backward of one block reads, before recomputation drops any of it.
[[nodiscard]] std::vector<Buffer> block_activations(const model::ModelConfig& config,
                                                    const Execution& execution,
                                                    const model::LayerKind& kind);

/// Those that recomputation does not save: they live in one working set that every block uses in
/// turn.
[[nodiscard]] std::vector<Buffer> working_activations(const model::ModelConfig& config,
                                                      const Execution& execution,
                                                      const model::LayerKind& kind);

/// Buffers live while one block runs forward or backward, besides what forward saves.
[[nodiscard]] std::vector<Buffer> block_scratch(const model::ModelConfig& config,
                                                const Execution& execution,
                                                const model::LayerKind& kind);

}  // namespace isoflop::cost
