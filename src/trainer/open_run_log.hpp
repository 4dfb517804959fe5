// The log of a run, as its keys ask for it. Internal to the trainer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>

#include "isoflop/run_log/run_log.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

struct LogStart {
    std::int64_t iteration = 0;  ///< done so far
    /// Whether the weights of the checkpoint are evaluated again, so that an earlier record of that
    /// goes.
    bool evaluates_checkpoint = false;
};

/// Lineage of the checkpoints that belong to the log in this folder; empty where there is no log,
/// or one of an older program.
[[nodiscard]] std::string lineage_of_log(const std::filesystem::path& run);

/// Begins the log, or continues that of a resumed run. Called on the first rank alone.
[[nodiscard]] run_log::RunLog open_run_log(const RunSetup& setup, const Hardware& hardware,
                                           const LogStart& start, std::ostream& console,
                                           text::Colour colour);

}  // namespace isoflop::trainer
