// Which GPUs there are, and whether one can be used. Nothing but these two functions here: the
// tests' emulation takes their place.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>

#include "device/cuda/cuda_device.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::device {
namespace {

constexpr int kOldestCapability = 8;  // Ampere: bfloat16 and cp.async

std::string version_text(int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string no_driver() {
    int version = 0;
    cuda::ignore(cudaDriverGetVersion(&version));
    if (version == 0) return "no NVIDIA driver is installed";
    return fmt::format(
        "the NVIDIA driver is too old: it serves CUDA {}, this build needs {}; update the driver",
        version_text(version), version_text(CUDART_VERSION / 1000 * 1000));
}

std::string why_none(cudaError_t status) {
    switch (status) {
        case cudaErrorInsufficientDriver:
        case cudaErrorStubLibrary: return no_driver();
        case cudaSuccess:
        case cudaErrorNoDevice: {
            const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
            return visible == nullptr
                       ? std::string("no NVIDIA GPU was found")
                       : fmt::format("no NVIDIA GPU was found among CUDA_VISIBLE_DEVICES={}",
                                     visible);
        }
        default: return "CUDA does not start: " + cuda::describe(status);
    }
}

/// As nvidia-smi -L writes it.
std::string text_of(const cudaUUID_t& uuid) {
    std::string text = "GPU-";
    for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
        const bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        text += fmt::format("{}{:02x}", dash ? "-" : "", static_cast<unsigned char>(uuid.bytes[i]));
    }
    return text;
}

DeviceInfo info_of(int ordinal) {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    int runtime = 0;
    cuda::check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    return {.name = properties.name,
            .ordinal = ordinal,
            .capability_major = properties.major,
            .capability_minor = properties.minor,
            .multiprocessors = properties.multiProcessorCount,
            .total_bytes = properties.totalGlobalMem,
            .runtime = "CUDA " + version_text(runtime),
            .cuda_major = CUDART_VERSION / 1000,
            .unique_id = text_of(properties.uuid),
            .element_types = {DType::float32, DType::bfloat16, DType::float16}};
}

std::string list_of(int devices) {
    std::string text;
    for (int ordinal = 0; ordinal < devices; ++ordinal)
        text += fmt::format("{}{} {}", ordinal == 0 ? "" : ", ", ordinal, info_of(ordinal).name);
    return text;
}

}  // namespace

DeviceCount count_gpus() {
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    cuda::ignore(status);
    if (status == cudaSuccess && devices > 0) return {.devices = devices, .reason = {}};
    return {.devices = 0, .reason = why_none(status)};
}

std::unique_ptr<Device> open_gpu(const DeviceOptions& options) {
    const DeviceCount count = count_gpus();
    if (count.devices == 0) throw ConfigError("device=cuda: " + count.reason);
    if (options.ordinal < 0 || options.ordinal >= count.devices) {
        throw ConfigError(fmt::format("device=cuda: there is no GPU {}, only {}", options.ordinal,
                                      list_of(count.devices)));
    }
    DeviceInfo info = info_of(options.ordinal);
    if (info.capability_major < kOldestCapability) {
        throw ConfigError(
            fmt::format("device=cuda: GPU {} ({}) has compute capability {}.{}; {}.0 (Ampere) or "
                        "newer is needed",
                        info.ordinal, info.name, info.capability_major, info.capability_minor,
                        kOldestCapability));
    }
    return std::make_unique<cuda::CudaDevice>(options, std::move(info));
}

}  // namespace isoflop::device
