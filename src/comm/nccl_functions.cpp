#include "comm/nccl_functions.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "isoflop/base/error.hpp"
#include "isoflop/device/shared_library.hpp"

namespace isoflop::comm {
namespace {

/// Fills tables from one library; every function is needed.
class Loader {
public:
    /// `missing`: what to tell where there is no such library.
    Loader(const std::string& name, const char* title, const std::function<std::string()>& missing)
        : library_({name.c_str()}), title_(title) {
        if (!library_.loaded()) throw ConfigError(fmt::format("{}: {}", title, missing()));
    }

    template <class Signature>
    void operator()(std::function<Signature>& function, const char* symbol) const {
        auto* found = library_.find<Signature>(symbol);
        if (found == nullptr) {
            throw ConfigError(
                fmt::format("{}: found, but it lacks {}; install a newer one", title_, symbol));
        }
        function = found;
    }

private:
    device::SharedLibrary library_;
    const char* title_;
};

}  // namespace

NcclFunctions load_nccl(const std::string& name) {
    const Loader load(name, "NCCL", [&] {
        return fmt::format(
            "{} was not found; training on several GPUs needs it (NVIDIA's package repository: "
            "libnccl2; PyPI: nvidia-nccl-cu13 or -cu12, with its lib folder in LD_LIBRARY_PATH)",
            name);
    });
    NcclFunctions table;
    load(table.get_version, "ncclGetVersion");
    load(table.get_error_string, "ncclGetErrorString");
    load(table.get_unique_id, "ncclGetUniqueId");
    load(table.comm_init_rank, "ncclCommInitRank");
    load(table.comm_destroy, "ncclCommDestroy");
    load(table.comm_abort, "ncclCommAbort");
    load(table.comm_get_async_error, "ncclCommGetAsyncError");
    load(table.all_reduce, "ncclAllReduce");
    load(table.reduce_scatter, "ncclReduceScatter");
    load(table.all_gather, "ncclAllGather");
    return table;
}

CudaRuntimeFunctions load_cuda_runtime(int cuda_major, const device::LibraryProbe& is_there) {
    const Loader load(device::cuda_library_name("libcudart", cuda_major), "CUDA runtime", [&] {
        return fmt::format(
            "{}; training on several GPUs needs it (NVIDIA's package repository: "
            "cuda-cudart-{}; PyPI: {}, with its lib folder in LD_LIBRARY_PATH)",
            device::missing_cuda_library("libcudart", cuda_major, is_there),
            cuda_major < 13 ? "12-8" : "13-0",
            cuda_major < 13 ? "nvidia-cuda-runtime-cu12" : "nvidia-cuda-runtime");
    });
    CudaRuntimeFunctions table;
    load(table.get_error_string, "cudaGetErrorString");
    load(table.set_device, "cudaSetDevice");
    load(table.stream_create_with_flags, "cudaStreamCreateWithFlags");
    load(table.stream_destroy, "cudaStreamDestroy");
    load(table.stream_wait_event, "cudaStreamWaitEvent");
    load(table.event_create_with_flags, "cudaEventCreateWithFlags");
    load(table.event_destroy, "cudaEventDestroy");
    load(table.event_record, "cudaEventRecord");
    load(table.event_query, "cudaEventQuery");
    return table;
}

void NcclLibraries::check_nccl(int result, const char* call) const {
    if (result == kNcclSuccess) return;
    throw std::runtime_error(fmt::format("{}: {}", call, nccl.get_error_string(result)));
}

void NcclLibraries::check_cuda(int error, const char* call) const {
    if (error == kCudaSuccess) return;
    throw std::runtime_error(fmt::format("{}: {}", call, cuda.get_error_string(error)));
}

std::string nccl_version_text(int version) {
    return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace isoflop::comm
