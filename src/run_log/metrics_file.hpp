// Opens metrics.jsonl when a run starts. A new run writes its header; a resumed run removes the
// records of the iterations that it repeats. Internal to the layer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "isoflop/base/file.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "run_log_document.hpp"

namespace isoflop::run_log {

[[nodiscard]] std::filesystem::path metrics_path_of(const std::filesystem::path& run_dir);

/// Appends a record: one line, one write(2).
void append_line(const FileDescriptor& metrics, const nlohmann::ordered_json& line,
                 const std::filesystem::path& path);

/// Creates the folder and the file. Throws ConfigError when the file exists.
[[nodiscard]] RunDocument begin_metrics(const std::filesystem::path& run_dir,
                                        const nlohmann::ordered_json& header);

/// Removes the records of iterations from from_iter on and adds the line of the resume. With
/// keep_boundary, evaluations and checkpoints of from_iter itself stay. Returns what the file holds
/// now.
[[nodiscard]] RunDocument continue_metrics(const std::filesystem::path& run_dir,
                                           std::int64_t from_iter, const RunLogOptions& options);

}  // namespace isoflop::run_log
