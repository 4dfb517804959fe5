// The plan of a run: everything about it that is known before anything is allocated. `train`
// executes it; `scaling-plan` prints it.
#pragma once

#include <array>
#include <vector>

#include "isoflop/cost/communication.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::recipe {

struct RunPlan {
    Recipe config;  ///< with the decided attention backend
    AttentionResolution attention;
    model::ParameterLayout layout;
    model::ParameterTotals parameters;
    cost::StateLayout state;
    cost::MemoryPlan memory;
    std::vector<cost::Collective> traffic;  ///< of one rank and iteration
    std::array<double, cost::kConventionCount>
        convention_flops_per_token{};  ///< training; indexed by cost::Convention
    double model_flops_per_token = 0;  ///< training, by flop_convention; numerator of MFU
    double exact_flops_per_token = 0;
    double executed_flops_per_token = 0;   ///< numerator of HFU
    double attention_flops_per_layer = 0;  ///< forward, per token: projections and core
    double ffn_flops_per_layer = 0;        ///< forward, per token
};

/// How much of a plan is computed.
enum class Extent {
    run,    ///< everything
    plan,   ///< without the tensors of the state, which only their holder needs
    sweep,  ///< of that no traffic, and FLOPs exactly and by flop_convention only
};

/// Computes the above, for both tools. Throws ConfigError for traffic over 2^63 bytes a step.
[[nodiscard]] RunPlan plan_run(Recipe recipe, AttentionResolution attention,
                               Extent extent = Extent::run);
}  // namespace isoflop::recipe
