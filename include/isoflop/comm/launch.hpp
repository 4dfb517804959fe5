// Rank of this process, from the environment variables that its launcher sets.
#pragma once

#include <string>

namespace isoflop::comm {

struct LaunchInfo {
    int rank = 0;
    int world_size = 1;
    int local_rank = 0;          ///< on this machine
    int local_world_size = 1;    ///< on this machine; 1 when the launcher does not say
    std::string master_address;  ///< of rank 0; if empty, open_store gets it from MPI
    int master_port = 0;  ///< with an empty address, the port to use without MPI; 0 if unknown
    std::string launcher = "none";  ///< "torchrun", "mpirun", "srun", "train", "none"
    std::string job_token =
        {};                     ///< secret of the job (ISOFLOP_JOB_TOKEN); empty when there is none
    std::string job_name = {};  ///< by which the launcher tells jobs apart; no secret
};

/// Understands RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun,
/// our own launcher and others), OMPI_COMM_WORLD_* and PMI_* (mpirun), SLURM_* (srun); nothing set
/// is one rank, and so is the shell of a SLURM job. Throws ConfigError naming what is missing when
/// they are half-set or contradict each other, or when ISOFLOP_JOB_TOKEN is too short for a secret.
[[nodiscard]] LaunchInfo launch_from_environment();

/// The MPI with which ranks of mpirun find each other, such as "Open MPI v4.1.4"; empty without
/// one.
[[nodiscard]] std::string mpi_library();

}  // namespace isoflop::comm
