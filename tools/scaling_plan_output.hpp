// How the commands of scaling-plan print, and what they say of keys.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "scaling_plan_commands.hpp"

namespace isoflop::tools {

/// Columns of the reports of a command.
[[nodiscard]] std::size_t width_of(const Options& options);
/// A report in lines of that width.
[[nodiscard]] std::string fitted(const std::string& report, const Options& options);

/// Whether a key of plans, by its path, changes nothing in the analysis of a model.
[[nodiscard]] bool is_without_effect(std::string_view path);
/// A warning of that.
[[nodiscard]] std::string without_effect(std::string_view key);

/// The GPU that a model is held against, if one is named; `table` must outlive it.
[[nodiscard]] planner::GpuToFit gpu_to_fit(const std::string& gpu_type,
                                           const hardware::GpuTable& table, recipe::KeysOf keys);
/// flop_convention of the keys is shown where the command line names no other.
[[nodiscard]] Options with_convention(Options options, cost::Convention convention);

}  // namespace isoflop::tools
