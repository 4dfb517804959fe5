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
    int device = 0;        ///< CUDA device of this rank
    std::string gpu = {};  ///< unique among the GPUs of all machines; empty where unknown
    int cuda_major = 13;   ///< of the CUDA that the program was built with
    CUstream_st* compute_stream = nullptr;  ///< stream that produces and uses the tensors
    std::string group = "all";  ///< of the ranks that are connected; one store serves several
    /// Longest time from the start of a collective on this rank to its end.
    std::chrono::milliseconds timeout{60'000};
};

/// Connects the ranks of `control`, each on its own GPU; the store carries their unique id. Tensors
/// are of device memory. `control` carries small values of the host.
///
/// ConfigError where two ranks use one GPU, or NCCL or the CUDA runtime is not installed, on every
/// rank when that is the first; LostRank when NCCL cannot connect.
[[nodiscard]] std::unique_ptr<Communicator> connect_nccl(Store& store,
                                                         std::unique_ptr<PointToPoint> control,
                                                         const NcclOptions& options);

/// Such as "NCCL 2.28.9"; empty where it is not installed.
[[nodiscard]] std::string nccl_library();

}  // namespace isoflop::comm
