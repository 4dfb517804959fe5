// The architectures that the trainer runs. The planner checks before it writes a training
// configuration, the trainer before it starts, with the same function.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// The reason why the trainer cannot run this architecture at a context of `sequence_length`
/// ("mixture of experts"); empty when it runs.
[[nodiscard]] std::string untrainable_reason(const ModelConfig& config,
                                             std::int64_t sequence_length);

/// What the trainer cannot compute of a rope_scaling, beginning with its key: "rope_type yarn";
/// empty when it computes all of it.
[[nodiscard]] std::string untrainable_rope_scaling(const RopeScaling& scaling);

}  // namespace isoflop::model
