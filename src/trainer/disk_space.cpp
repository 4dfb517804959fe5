// Room for the checkpoints of a run, before its first iteration.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/optimizer_state.hpp"
#include "run_checkpoints.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;

namespace {

/// Weights and optimizer state; 4 bytes an element, as checkpoints hold the master weights.
double checkpoint_bytes(const recipe::RunPlan& plan) {
    constexpr double kElementBytes = 4;
    double elements = 0;
    for (const cost::StateTensor& tensor : plan.state.tensors) {
        double copies = 1;
        for (const cost::OptimizerTensor& state : plan.config.optimizer->tensors)
            copies += state.covers(tensor.spec) ? 1 : 0;
        elements += copies * static_cast<double>(tensor.spec.elements());
    }
    return kElementBytes * elements;
}

/// Checkpoints that the run writes from here to its end; with a limit on its hours that is not
/// known, and one is certain.
double saves_to_come(const recipe::Recipe& config, std::int64_t iteration) {
    const recipe::RunKeys& keys = config.keys.run;
    const std::int64_t left = std::max<std::int64_t>(0, config.max_iters - iteration);
    if (left == 0) return 0;
    const std::int64_t interval = keys.checkpoint_interval > 0  ? keys.checkpoint_interval
                                  : keys.always_save_checkpoint ? keys.eval_interval
                                                                : 0;
    if (interval == 0 || config.keys.batch.max_hours) return 1;
    const std::int64_t by_interval = config.max_iters / interval - iteration / interval;
    const bool last_is_due = config.max_iters % interval == 0;
    return static_cast<double>(by_interval + (last_is_due ? 0 : 1));
}

/// The nearest folder that exists.
fs::path existing_folder(fs::path folder) {
    std::error_code error;
    while (!folder.empty() && !fs::is_directory(folder, error)) folder = folder.parent_path();
    return folder.empty() ? fs::path(".") : folder;
}

}  // namespace

void check_disk_space(const RunSetup& setup, std::int64_t iteration) {
    const recipe::RunKeys& keys = setup.plan.config.keys.run;
    const double saves = saves_to_come(setup.plan.config, iteration);
    if (saves == 0) return;
    double room = saves;  // checkpoints that are added before the first old one goes
    if (keys.keep_checkpoints > 0) {
        const auto there = checkpoint::undamaged_checkpoints(setup.place.folder).size();
        // Those that stay, the best one, and the one that is being written.
        const double at_most = static_cast<double>(keys.keep_checkpoints) + 2;
        room = std::min(saves, std::max(1.0, at_most - static_cast<double>(there)));
    }
    const double each = checkpoint_bytes(setup.plan);
    std::error_code unknown;
    const fs::space_info space = fs::space(existing_folder(setup.place.folder), unknown);
    if (unknown || static_cast<double>(space.available) >= room * each) return;
    throw IoError(fmt::format(
        "{}: {} checkpoint{} of {} need {}, and {} are free there. A smaller keep_checkpoints, a "
        "larger checkpoint_interval or another out_dir need less",
        setup.place.folder.string(), with_separators(static_cast<std::int64_t>(room)),
        room == 1 ? "" : "s", human_bytes(each), human_bytes(room * each),
        human_bytes(static_cast<double>(space.available))));
}

}  // namespace isoflop::trainer
