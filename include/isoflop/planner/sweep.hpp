// Many plans at once: the grid over one or more keys, one summary row a plan.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::planner {

/// One swept key: "training_gear.num_gpus=8,16,32" or "...=8..64" or "...=8..64:8".
struct SweepAxis {
    std::string path;                 ///< full path of the key
    std::vector<std::string> values;  ///< as written
};

/// Parses one `--over` argument. Ranges are inclusive, with an optional step (default 1). Throws
/// ConfigError.
[[nodiscard]] SweepAxis parse_axis(std::string_view text);

/// The summary of one plan.
struct SweepRow {
    std::vector<std::uint32_t> value_indices;  ///< into each axis' values
    double n_params = 0;
    double n_tokens = 0;
    double compute_flops = 0;
    double predicted_loss = 0;
    double training_flops_per_token = 0;
    double optimal_n_params = 0;
    double optimal_loss = 0;
    std::uint64_t memory_bytes = 0;
    bool fits = false;
    bool constrained = false;
    std::string refusal = {};  ///< why this point cannot be planned; the figures are then zero
};

inline constexpr std::uint64_t kMaxSweepPoints = 2'000'000;

/// Calls `visit` for every point of the grid, the last axis running fastest, those included that
/// cannot be planned. Throws ConfigError for a key on two axes, a value of another type, or more
/// than kMaxSweepPoints.
void sweep(const recipe::PlanKeys& base, std::span<const SweepAxis> axes,
           const hardware::GpuTable& gpus, const std::function<void(const SweepRow&)>& visit);

}  // namespace isoflop::planner
