// Which attention backend a plan or a run takes, as far as no device is timed: `scaling-plan` and
// `train` decide by the functions here.
#pragma once

#include <string>
#include <vector>

#include "isoflop/cost/attention_support.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::recipe {

struct AttentionResolution {
    AttentionChoice requested{};
    cost::AttentionBackend used{};
    std::string reason;  ///< why `used`; "as requested" without further reason
    /// The implementation, if `used` has several: "forward: cuDNN 9.19.0; backward: ..."
    std::string run_by = {};

    /// A backend was requested and another one runs.
    [[nodiscard]] bool fell_back() const;
    /// "as requested", "auto: table: ..." or "requested sdpa: sdpa: disabled", and what computes it
    [[nodiscard]] std::string explanation() const;
};

/// Compute capability of a GPU; zeros when it is not known which GPU it will be.
struct ComputeCapability {
    int major = 0;
    int minor = 0;
};
/// The order in which the table prefers backends.
[[nodiscard]] std::vector<cost::AttentionBackend> preferred_backends(
    ComputeCapability capability = {});

/// The decision of the table for attention_backend=auto. `why`: the reason to use the table; may be
/// empty. Throws ConfigError when no backend can run.
[[nodiscard]] AttentionResolution attention_by_table(const Recipe& recipe,
                                                     ComputeCapability capability = {},
                                                     const std::string& why = {});

/// The backend of a training config: the requested one, or the first after it that runs; of auto
/// that of the table. Throws ConfigError when no backend can run.
[[nodiscard]] AttentionResolution resolve_attention(const Recipe& recipe);

/// The backend of a plan, by the same rule. A model that no trainer of ours runs, or a type that no
/// kernel of ours has, keeps the requested one: the plan is for other kernels.
[[nodiscard]] AttentionResolution resolve_attention(const model::ModelConfig& model,
                                                    const cost::Execution& execution);

/// A sentence about a fallback for the warnings of a plan; empty when the backend is the requested
/// one.
[[nodiscard]] std::string fallback_warning(const AttentionResolution& attention);

}  // namespace isoflop::recipe
