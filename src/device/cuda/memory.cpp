#include "device/cuda/memory.hpp"

#include <fmt/format.h>

#include "device/cuda/runtime.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::device::cuda {
namespace {

std::string readable(std::uint64_t bytes) {
    return human_bytes(static_cast<double>(bytes));
}

}  // namespace

std::byte* allocate_device(std::uint64_t bytes) {
    void* memory = nullptr;
    // cudaMalloc returns no address for 0 bytes.
    const cudaError_t status = cudaMalloc(&memory, bytes == 0 ? 1 : bytes);
    if (status != cudaErrorMemoryAllocation) {
        check(status, "cudaMalloc");
        return static_cast<std::byte*>(memory);
    }
    ignore(status);
    int ordinal = 0;
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    check(cudaGetDevice(&ordinal), "cudaGetDevice");
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    throw Error(ExitCode::out_of_memory,
                fmt::format("GPU {}: {} of memory cannot be allocated; {} of {} are free", ordinal,
                            readable(bytes), readable(free_bytes), readable(total_bytes)));
}

std::byte* allocate_pinned(std::uint64_t bytes) {
    void* memory = nullptr;
    const cudaError_t status = cudaMallocHost(&memory, bytes == 0 ? 1 : bytes);
    if (status == cudaErrorMemoryAllocation) {
        ignore(status);
        throw Error(ExitCode::out_of_memory,
                    fmt::format("{} of pinned host memory cannot be allocated (see ulimit -l)",
                                readable(bytes)));
    }
    check(status, "cudaMallocHost");
    return static_cast<std::byte*>(memory);
}

void free_device(std::byte* memory) noexcept {
    ignore(cudaFree(memory));
}

void free_pinned(std::byte* memory) noexcept {
    ignore(cudaFreeHost(memory));
}

}  // namespace isoflop::device::cuda
