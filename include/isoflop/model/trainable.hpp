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

/// Whether norms act on the outputs of attention and FFN before these are added to the residual
/// stream: x + norm(f(x)) in the classes of transformers with norms after (OLMo-2), x +
/// norm(f(norm(x))) with four norms. Own models with norms after compute norm(x + f(x)).
[[nodiscard]] bool norms_branches(const ModelConfig& config);

/// What the trainer cannot compute of a rope_scaling, beginning with its key: "rope_type yarn";
/// empty when it computes all of it.
[[nodiscard]] std::string untrainable_rope_scaling(const RopeScaling& scaling);

}  // namespace isoflop::model
