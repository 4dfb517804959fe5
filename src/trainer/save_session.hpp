// Checkpoints of a session by all its ranks. Internal to the trainer.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

/// Each rank writes what it holds, the first one begins and commits. Returns the folder. When a
/// rank cannot write, all throw IoError and older checkpoints stay.
std::filesystem::path save_session(Session& session, const std::filesystem::path& run_dir,
                                   std::int64_t step, const nlohmann::ordered_json& state,
                                   const checkpoint::CheckpointOptions& options);

}  // namespace isoflop::trainer
