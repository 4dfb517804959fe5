// The built-in launcher: starts the ranks of one machine as processes and supervises them.
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
    int master_port = 0;           ///< required for several nodes; 0 takes a free port
    int max_restarts = 0;
    std::string restart_argument = "--init_from=resume";  ///< added to the command of a restart
    std::chrono::milliseconds grace{10'000};              ///< between SIGTERM and SIGKILL
};

/// Runs `command` once per rank, with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
/// MASTER_PORT, ISOFLOP_LAUNCHER=train and, on one machine, a new ISOFLOP_JOB_TOKEN where none is
/// set. Rank 0 writes to the standard output of the launcher; everything else that ranks print goes
/// to standard error, line by line after "[rank N] ", with control characters escaped. SIGINT,
/// SIGTERM and SIGHUP are passed on to all ranks. When one rank fails, the launcher ends all ranks.
/// When the launcher itself is killed, the ranks get SIGTERM.
///
/// Returns 0 or the exit code of the first rank that failed, ExitCode::lost_rank for a rank that a
/// signal ended. After a lost rank or a signal, all ranks start again with `restart_argument`, up
/// to max_restarts times. Throws ConfigError for options that contradict each other.
///
/// Call it from a thread that lives until the end of the program: the ranks end with the calling
/// thread.
[[nodiscard]] int run_ranks(const LauncherOptions& options, std::span<const std::string> command);

/// A command line without the launcher's own options (--nproc-per-node and the like, with their
/// values), as the ranks receive it.
[[nodiscard]] std::vector<std::string> without_launcher_options(
    std::span<const std::string> arguments);

}  // namespace isoflop::comm
