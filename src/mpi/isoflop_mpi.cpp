// The plug-in through which Isoflop uses MPI, with a C interface that does not depend on which MPI
// it is: src/comm/mpi_plugin.cpp loads it. Ranks communicate over the transports of this project;
// MPI only sends them the address of rank 0.
#include <mpi.h>

#include <cstdio>

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongMpi = 2;

int broadcast_among(char* text, int size, int rank, int world_size, char* error, int error_size) {
    int mpi_rank = -1;
    int mpi_size = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &mpi_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &mpi_size);
    if (mpi_rank != rank || mpi_size != world_size) {
        std::snprintf(error, static_cast<std::size_t>(error_size),
                      "mpirun says rank %d of %d, but the MPI library says rank %d of %d: they are "
                      "of different MPIs",
                      rank, world_size, mpi_rank, mpi_size);
        return kWrongMpi;
    }
    if (MPI_Bcast(text, size, MPI_CHAR, 0, MPI_COMM_WORLD) == MPI_SUCCESS) return kDone;
    std::snprintf(error, static_cast<std::size_t>(error_size), "the broadcast failed");
    return kFailed;
}

}  // namespace

extern "C" {

/// Name and version, such as "Open MPI v4.1.4".
const char* isoflop_mpi_library() {
    static char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (MPI_Get_library_version(name, &length) != MPI_SUCCESS) return "MPI";
    for (char* at = name; *at != '\0'; ++at) {
        if (*at == ',' || *at == '\n') *at = '\0';
    }
    return name;
}

/// Fills `text` of every rank with rank 0's, between MPI_Init and MPI_Finalize. 0: done.
int isoflop_mpi_broadcast(char* text, int size, int rank, int world_size, char* error,
                          int error_size) {
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized != 0) {
        std::snprintf(error, static_cast<std::size_t>(error_size), "MPI was started before");
        return kFailed;
    }
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        std::snprintf(error, static_cast<std::size_t>(error_size), "MPI_Init failed");
        return kFailed;
    }
    const int status = broadcast_among(text, size, rank, world_size, error, error_size);
    MPI_Finalize();
    return status;
}

}  // extern "C"
