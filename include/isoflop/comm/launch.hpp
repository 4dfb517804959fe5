// Who this process is among the ranks of a run, as its launcher says through the environment.
#pragma once

#include <string>

namespace isoflop::comm {

struct LaunchInfo {
    int rank = 0;
    int world_size = 1;
    int local_rank = 0;          ///< on this machine
    int local_world_size = 1;    ///< on this machine; 1 when the launcher does not say
    std::string master_address;  ///< of rank 0; empty: mpirun's plug-in tells it
    int master_port = 0;
    std::string launcher = "none";  ///< "torchrun", "mpirun", "srun", "train", "none"
};

/// Understands RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun,
/// our own launcher and others), OMPI_COMM_WORLD_* and PMI_* (mpirun), SLURM_* (srun); nothing set
/// is one rank. Throws ConfigError naming what is missing when they are half-set or contradict each
/// other.
[[nodiscard]] LaunchInfo launch_from_environment();

}  // namespace isoflop::comm
