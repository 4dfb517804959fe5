// metrics.jsonl when a run starts: a new file with its header, or the file of a resumed run without
// what will happen again. Internal to the layer.
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

/// Creates the folder and the file. ConfigError when it is there already.
[[nodiscard]] RunDocument begin_metrics(const std::filesystem::path& run_dir,
                                        const nlohmann::ordered_json& header);

/// Removes the records from from_iter on, with keep_boundary but for evaluations and checkpoints at
/// from_iter, and adds the line of the resume. Returns what the file holds now.
[[nodiscard]] RunDocument continue_metrics(const std::filesystem::path& run_dir,
                                           std::int64_t from_iter, const RunLogOptions& options);

}  // namespace isoflop::run_log
