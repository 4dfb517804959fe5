// One logged run as `train compare` sees it. Internal to the layer.
#pragma once

#include <filesystem>
#include <vector>

#include "isoflop/run_log/compare.hpp"

namespace isoflop::run_log {

/// The logs that a path stands for: itself when a file; of a folder its metrics.jsonl, else its
/// run_*.json, else those of the folders in it. Empty when there is none.
[[nodiscard]] std::vector<std::filesystem::path> find_logs(const std::filesystem::path& path);

/// Throws IoError that names the file.
[[nodiscard]] ComparedRun read_compared_run(const std::filesystem::path& log);

}  // namespace isoflop::run_log
