#include "dry_run.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "host_cores.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_setup.hpp"
#include "world.hpp"

namespace isoflop::trainer {
namespace {

std::string json_text(const RunSetup& setup) {
    return printable_json(
               plan_record(setup.plan, setup.memory)
                   .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) +
           "\n";
}

std::string report_text(const RunSetup& setup, const Hardware& hardware,
                        const RunEnvironment& environment) {
    return text::fit_lines(
        startup_text(setup.plan, hardware, setup.memory, environment.colour, environment.file_kind),
        environment.width);
}

}  // namespace

ExitCode dry_run(recipe::TrainKeys keys, comm::LaunchInfo launch,
                 const RunEnvironment& environment) {
    if (environment.planned_ranks > 0) {
        launch.world_size = environment.planned_ranks;
        launch.local_world_size = std::max(environment.planned_ranks_per_host, 1);
    }
    device::ThreadPool pool(threads_of_rank(keys.execution, launch));
    device::Context context(pool);
    const RunSetup setup = prepare_run(std::move(keys), World::planned(launch), pool, true);
    if (environment.json) {
        environment.out << json_text(setup);
    } else {
        Hardware hardware = planned_hardware(context, setup.plan.config.execution);
        if (hardware.peak_flops > 0) {
            const RankCores mine = cores_of_this_rank(hardware.threads, hardware.peak_flops);
            const bool bound = environment.planned_ranks == 0 && has_own_cores(launch);
            share_cores(hardware, planned_hosts(mine, launch, bound));
        }
        environment.out << report_text(setup, hardware, environment);
        warn_of_shared_cores(hardware, environment.out);
    }
    return setup.memory.fits() ? ExitCode::ok : ExitCode::out_of_memory;
}

}  // namespace isoflop::trainer
