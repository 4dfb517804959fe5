// NCCL and the CUDA runtime as tables of functions, so that a program starts without either, and
// tests can replace them.
//
// Declared here rather than taken from their headers, which need not be installed: handles are
// pointers to the same incomplete types, enumerations are passed as int. nccl_signatures.cpp checks
// both against the headers where they are installed.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>

#include "isoflop/device/cuda_library.hpp"

struct ncclComm;
struct CUstream_st;
struct CUevent_st;

namespace isoflop::comm {

using NcclComm = ncclComm*;
using CudaStream = CUstream_st*;
using CudaEvent = CUevent_st*;

struct NcclUniqueId {
    std::array<char, 128> internal{};
};

inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclRemoteError = 6;
inline constexpr int kNcclInProgress = 7;
inline constexpr int kNcclSum = 0;

inline constexpr int kNcclInt8 = 0;
inline constexpr int kNcclFloat16 = 6;
inline constexpr int kNcclFloat32 = 7;
inline constexpr int kNcclFloat64 = 8;
inline constexpr int kNcclBfloat16 = 9;

inline constexpr int kCudaSuccess = 0;
inline constexpr int kCudaErrorNotReady = 600;
inline constexpr unsigned kCudaStreamNonBlocking = 1;
inline constexpr unsigned kCudaEventDisableTiming = 2;

/// Names as in nccl.h, without their prefix.
struct NcclFunctions {
    std::function<int(int* version)> get_version;
    std::function<const char*(int result)> get_error_string;
    std::function<int(NcclUniqueId* id)> get_unique_id;
    std::function<int(NcclComm* comm, int ranks, NcclUniqueId id, int rank)> comm_init_rank;
    std::function<int(NcclComm comm)> comm_destroy;
    std::function<int(NcclComm comm)> comm_abort;
    std::function<int(NcclComm comm, int* result)> comm_get_async_error;
    std::function<int(const void* send, void* receive, std::size_t count, int dtype, int operation,
                      NcclComm comm, CudaStream stream)>
        all_reduce;
    std::function<int(const void* send, void* receive, std::size_t receive_count, int dtype,
                      int operation, NcclComm comm, CudaStream stream)>
        reduce_scatter;
    std::function<int(const void* send, void* receive, std::size_t send_count, int dtype,
                      NcclComm comm, CudaStream stream)>
        all_gather;
};

/// Names as in cuda_runtime_api.h, without their prefix.
struct CudaRuntimeFunctions {
    std::function<const char*(int error)> get_error_string;
    std::function<int(int device)> set_device;
    std::function<int(CudaStream* stream, unsigned flags)> stream_create_with_flags;
    std::function<int(CudaStream stream)> stream_destroy;
    std::function<int(CudaStream stream, CudaEvent event, unsigned flags)> stream_wait_event;
    std::function<int(CudaEvent* event, unsigned flags)> event_create_with_flags;
    std::function<int(CudaEvent event)> event_destroy;
    std::function<int(CudaEvent event, CudaStream stream)> event_record;
    std::function<int(CudaEvent event)> event_query;
};

struct NcclLibraries {
    NcclFunctions nccl;
    CudaRuntimeFunctions cuda;

    /// Throw std::runtime_error with the library's message when a call has failed.
    void check_nccl(int result, const char* call) const;
    void check_cuda(int error, const char* call) const;
};

/// Both throw a ConfigError that names the package to install. NCCL has a CUDA runtime of its own
/// inside, so its name has no major version of CUDA.
[[nodiscard]] NcclFunctions load_nccl(const std::string& name = "libnccl.so.2");
/// That of the major version with which the program was built, as both use the same handles.
[[nodiscard]] CudaRuntimeFunctions load_cuda_runtime(
    int cuda_major, const device::LibraryProbe& is_there = device::can_load);

/// 22809 -> "2.28.9"
[[nodiscard]] std::string nccl_version_text(int version);

}  // namespace isoflop::comm
