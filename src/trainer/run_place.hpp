// Names and places of runs. Internal to the trainer.
#pragma once

#include <filesystem>
#include <string>

#include "isoflop/trainer/session.hpp"
#include "run_lock.hpp"

namespace isoflop::trainer {

struct RunPlace {
    std::string name;
    std::filesystem::path folder;
};

/// Creates the folder of a run and locks it: the given run_name (with init_from=auto also a run
/// without a checkpoint, which `lock` holds already), or YYYYmmdd_HHMMSS_<preset>_<backend> made
/// unique. Throws ConfigError when a given name is taken.
[[nodiscard]] RunPlace new_run(const recipe::RunPlan& plan, RunLock& lock);
/// Locks the folder of a run that exists or may exist, with notes on standard error.
[[nodiscard]] RunLock lock_run(const std::filesystem::path& folder);
/// The run to resume: run_name if given, else the newest in out_dir. Throws ConfigError when there
/// is none.
[[nodiscard]] RunPlace existing_run(const recipe::RunKeys& keys);

}  // namespace isoflop::trainer
