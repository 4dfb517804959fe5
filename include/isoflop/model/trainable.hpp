// Which architectures the trainer runs. The planner asks before it emits a training config, the
// trainer before it starts: one answer for both.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// What keeps the trainer from running this architecture at a context of `sequence_length`
/// ("mixture of experts"); empty when it runs.
[[nodiscard]] std::string untrainable_reason(const ModelConfig& config,
                                             std::int64_t sequence_length);

}  // namespace isoflop::model
