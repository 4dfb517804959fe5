// The built-in launcher: starts the ranks of one machine as processes and looks after them.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

namespace isoflop::comm {

struct LauncherOptions {
    int nproc_per_node = 1;
    int nnodes = 1;
    int node_rank = 0;
    std::string master_addr = {};  ///< of node 0; needed for several nodes
    int master_port = 0;           ///< needed for several nodes; 0: a free one
    int max_restarts = 0;
    std::string restart_argument = "--init_from=resume";  ///< added to the command of a restart
    std::chrono::milliseconds grace{10'000};              ///< between SIGTERM and SIGKILL
};

/// Runs `command` once per rank, with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
/// MASTER_PORT and ISOFLOP_LAUNCHER=train. Rank 0 has our standard output; everything else that
/// ranks print goes to standard error, line by line after "[rank N] ". SIGINT, SIGTERM and SIGHUP
/// go on to all ranks. When one fails, all are ended. No rank outlives the launcher.
///
/// Returns 0 or the exit code of the first rank that failed, ExitCode::lost_rank for one that a
/// signal ended. After either of the last two, all ranks start again with `restart_argument`, up
/// to max_restarts times. Throws ConfigError for options that contradict each other.
///
/// To be called from the thread that lives longest: when the calling thread ends, so do the ranks.
[[nodiscard]] int run_ranks(const LauncherOptions& options, std::span<const std::string> command);

/// A command line without the launcher's own options (--nproc-per-node and the like, with their
/// values), as the ranks get it.
[[nodiscard]] std::vector<std::string> without_launcher_options(
    std::span<const std::string> arguments);

}  // namespace isoflop::comm
