#include "isoflop/hardware/gpu_libraries.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <charconv>

namespace isoflop::hardware {
namespace {

std::string with_hundreds(std::size_t version) {
    return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

/// Of libraries whose function returns the version.
std::string returned_version(void* function) {
    using GetVersion = std::size_t();
    return with_hundreds(reinterpret_cast<GetVersion*>(function)());
}

std::string nccl_version(void* function) {
    using GetVersion = int(int*);
    int version = 0;
    (void)reinterpret_cast<GetVersion*>(function)(&version);
    return with_hundreds(static_cast<std::size_t>(version));
}

std::string driver_version(void* function) {
    using GetVersion = int(int*);
    int version = 0;
    (void)reinterpret_cast<GetVersion*>(function)(&version);
    return fmt::format("for CUDA {}.{}", version / 1000, version % 1000 / 10);
}

/// Its version is that of the driver.
std::string no_version(void* /*function*/) {
    return "found";
}

struct Wanted {
    std::string_view name;
    std::string_view purpose;
    const char* file;  ///< with {} for the major version of CUDA
    const char* symbol;
    std::string (*version)(void* function);
};

constexpr std::array<Wanted, 5> kWanted = {{
    {"driver", "no GPU can be used", "libcuda.so.1", "cuDriverGetVersion", driver_version},
    {"cuBLASLt", "device=cuda is refused", "libcublasLt.so.{}", "cublasLtGetVersion",
     returned_version},
    {"cuDNN", "sdpa uses the project's own kernels", "libcudnn.so.9", "cudnnGetVersion",
     returned_version},
    {"NCCL", "several GPUs cannot train together", "libnccl.so.2", "ncclGetVersion", nccl_version},
    {"NVML", "power and clocks are not in the log", "libnvidia-ml.so.1", "nvmlInit_v2", no_version},
}};

constexpr int kNewestMajor = 13;
constexpr int kOldestMajor = 12;

}  // namespace

void* find_symbol(const char* library, const char* symbol) {
    void* const handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    return handle == nullptr || symbol == nullptr ? handle : dlsym(handle, symbol);
}

std::string GpuLibrary::text() const {
    return fmt::format("{} {}", name, version.empty() ? "not found" : version);
}

std::vector<GpuLibrary> gpu_libraries(int cuda_major, const SymbolFinder& find) {
    std::vector<GpuLibrary> libraries;
    for (const Wanted& wanted : kWanted) {
        GpuLibrary library{
            .name = wanted.name, .purpose = wanted.purpose, .version = {}, .file = {}};
        const int newest = cuda_major == 0 ? kNewestMajor : cuda_major;
        const int oldest = cuda_major == 0 ? kOldestMajor : cuda_major;
        for (int major = newest; major >= oldest && library.version.empty(); --major) {
            library.file = fmt::format(fmt::runtime(wanted.file), major);
            if (void* const function = find(library.file.c_str(), wanted.symbol))
                library.version = wanted.version(function);
        }
        libraries.push_back(std::move(library));
    }
    return libraries;
}

std::string gpu_libraries_text(std::string_view cuda, const SymbolFinder& find) {
    std::string text =
        cuda.empty() ? std::string("CUDA not built in") : fmt::format("CUDA {} built in", cuda);
    std::string_view separator = "; ";
    for (const GpuLibrary& library : gpu_libraries(major_of(cuda), find)) {
        text += fmt::format("{}{}", separator, library.text());
        separator = ", ";
    }
    return text;
}

int major_of(std::string_view version) {
    int major = 0;
    (void)std::from_chars(version.data(), version.data() + version.size(), major);
    return major;
}

}  // namespace isoflop::hardware
