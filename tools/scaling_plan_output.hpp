// How the commands of scaling-plan print, and what they say of keys.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
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

/// A file that a command writes beside its report, or prints in its place.
struct OutputFile {
    std::string_view option;
    std::optional<std::string> path = {};  ///< "-": standard output; nullopt: not asked for

    [[nodiscard]] bool wanted() const { return path.has_value(); }
    [[nodiscard]] bool printed() const { return path == "-"; }
};
/// Throws ConfigError for an empty name, one name of two files, one that exists already, and for
/// two outputs on the standard output. Before anything is computed.
void check_output_files(std::span<const OutputFile> files, const Options& options);
/// Writes a file, or makes it the output of the command.
void write_output_file(Result& result, const OutputFile& file, std::string text);

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
