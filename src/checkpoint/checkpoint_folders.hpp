// The folders of a run's checkpoints: their names, `latest`, and the removal of old checkpoints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "isoflop/checkpoint/checkpoint.hpp"

namespace isoflop::checkpoint {

[[nodiscard]] std::filesystem::path checkpoints_folder(const std::filesystem::path& run_dir);
[[nodiscard]] std::filesystem::path final_folder(const std::filesystem::path& run_dir,
                                                 std::int64_t step);
/// Where a checkpoint is while it is being written.
[[nodiscard]] std::filesystem::path writing_folder(const std::filesystem::path& run_dir,
                                                   std::int64_t step);

struct CheckpointFolder {
    std::int64_t step = 0;
    std::filesystem::path path;
};

/// The step_* folders, newest first. Empty when there is no such run.
[[nodiscard]] std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& run_dir);

/// Remains of runs that were killed while they wrote or removed a checkpoint.
void remove_leftovers(const std::filesystem::path& run_dir);

/// Gives a complete checkpoint its final name, in place of one of the same step.
void publish(const std::filesystem::path& run_dir, std::int64_t step);
/// Replaces `latest` in one step.
void point_latest(const std::filesystem::path& run_dir, std::int64_t step);
/// The checkpoint that a `latest` (symbolic link or text file) names.
[[nodiscard]] std::filesystem::path follow_latest(const std::filesystem::path& latest);

/// Removes the checkpoints that the options do not keep. The checkpoint of `newest_step`, just
/// written, always stays; damaged checkpoints stay too and are not counted: the user decides about
/// them.
void remove_old_checkpoints(const std::filesystem::path& run_dir, std::int64_t newest_step,
                            const CheckpointOptions& options);

}  // namespace isoflop::checkpoint
