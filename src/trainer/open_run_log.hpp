// The log of a run, as its keys ask for it. Internal to the trainer.
#pragma once

#include <cstdint>
#include <ostream>

#include "isoflop/run_log/run_log.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

/// Begins the log, or continues that of a run resumed after `iteration`. Called on the first rank
/// alone.
[[nodiscard]] run_log::RunLog open_run_log(const RunSetup& setup, const Hardware& hardware,
                                           std::int64_t iteration, std::ostream& console,
                                           text::Colour colour);

}  // namespace isoflop::trainer
