// Whether a plan fits a GPU, by how much, and the cheapest change that makes it fit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "isoflop/cost/execution.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::planner {

struct FittingChange {
    cost::Execution execution;      ///< the changed choices; the global batch stays
    std::uint64_t total_bytes = 0;  ///< memory of these choices
    double slowdown = 0;            ///< estimated extra step time, fraction
    std::string description;        ///< "attention_backend=flash_attn_2, parallelism=zero1"
};

struct MemoryFit {
    std::uint64_t planned_bytes = 0;  ///< of the memory plan
    std::uint64_t capacity_bytes = 0;
    [[nodiscard]] bool fits() const { return planned_bytes <= capacity_bytes; }
    /// Free bytes, negative when it does not fit.
    [[nodiscard]] std::int64_t headroom_bytes() const {
        return static_cast<std::int64_t>(capacity_bytes) - static_cast<std::int64_t>(planned_bytes);
    }
    /// Cheapest combination of fused attention, smaller micro-batch, recomputation and sharding
    /// that fits; nullopt when the plan fits already or no combination does.
    std::optional<FittingChange> change = {};
    /// When no combination fits this many GPUs: the fewest that do with everything sharded; nullopt
    /// when none would.
    std::optional<std::int64_t> gpus_needed = {};
    cost::AttentionBackend gpus_needed_backend{};  ///< the one that needs the least memory
};

/// Of the memory plan of a run; only backends that run are proposed.
[[nodiscard]] MemoryFit memory_fit(const recipe::RunPlan& run, std::uint64_t capacity_bytes);

}  // namespace isoflop::planner
