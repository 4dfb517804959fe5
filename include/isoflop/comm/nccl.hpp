// Ranks on GPUs, connected by NCCL.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/comm/store.hpp"

struct CUstream_st;  // cudaStream_t points to it

namespace isoflop::comm {

struct NcclOptions {
    int device = 0;                         ///< CUDA device of this rank
    CUstream_st* compute_stream = nullptr;  ///< on which tensors are made and used
    std::string group = "all";  ///< of the ranks that are connected; one store serves several
    /// For a collective whose turn it is on this rank, to be done.
    std::chrono::milliseconds timeout{60'000};
};

/// Connects the ranks of `control`, each on a GPU of its own; their unique id goes through the
/// store. Tensors are of device memory. `control` carries what is on the host: small values,
/// integers, barriers.
///
/// ConfigError where NCCL or the CUDA runtime is not installed, on every rank when that is the
/// first; LostRank when NCCL cannot connect.
[[nodiscard]] std::unique_ptr<Communicator> connect_nccl(Store& store,
                                                         std::unique_ptr<PointToPoint> control,
                                                         const NcclOptions& options);

/// Such as "NCCL 2.28.9"; empty where it is not installed.
[[nodiscard]] std::string nccl_library();

}  // namespace isoflop::comm
