// A whole run: open the data, plan, allocate, iterate, evaluate, save, report.
#pragma once

#include <iosfwd>
#include <string_view>

#include "isoflop/base/error.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::trainer {

struct RunEnvironment {
    std::ostream& out;  ///< console
    text::Colour colour = text::Colour::off;
    bool dry_run = false;                    ///< print the startup report, then stop
    int planned_ranks = 0;                   ///< of a dry run; 0: as many as the launcher started
    int planned_ranks_per_host = 1;          ///< of planned_ranks, those that share this machine
    bool json = false;                       ///< print the plan of a dry run as JSON
    std::size_t width = text::kReportWidth;  ///< columns of reports
    std::string_view file_kind = {};         ///< what the config was read as; empty: not said
};

/// Returns ok (also after a stop, base/stop.hpp, that saved), diverged, or out_of_memory for a dry
/// run that does not fit; other failures are thrown as Error.
[[nodiscard]] ExitCode run_training(recipe::TrainKeys keys, const RunEnvironment& environment);

}  // namespace isoflop::trainer
