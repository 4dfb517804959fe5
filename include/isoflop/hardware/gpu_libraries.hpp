// What a program finds of NVIDIA's libraries on this machine, without a driver too. Each is loaded
// to ask for its version, and so stays loaded.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace isoflop::hardware {

struct GpuLibrary {
    std::string_view name;     ///< "cuBLASLt"
    std::string_view purpose;  ///< what is missing without it
    std::string version;       ///< "13.1.0"; empty where it is not found
    std::string file;          ///< that was loaded, or looked for

    /// "cuBLASLt 13.1.0", "NVML not found"
    [[nodiscard]] std::string text() const;
};

/// Looks a function up in a library, or the library itself where `symbol` is null; null without it.
using SymbolFinder = std::function<void*(const char* library, const char* symbol)>;
[[nodiscard]] void* find_symbol(const char* library, const char* symbol);

/// The driver, cuBLASLt, cuDNN, NCCL and NVML. `cuda_major`: of the build, whose libraries alone
/// are taken; 0: of any.
[[nodiscard]] std::vector<GpuLibrary> gpu_libraries(int cuda_major,
                                                    const SymbolFinder& find = find_symbol);

/// "CUDA 13.0 built in; cuBLASLt 13.1.0, cuDNN 9.19.0, NVML not found", for --version.
/// `cuda`: version of the toolkit of the build, or empty.
[[nodiscard]] std::string gpu_libraries_text(std::string_view cuda,
                                             const SymbolFinder& find = find_symbol);

/// 13 of "13.0.88"; 0 of an empty text.
[[nodiscard]] int major_of(std::string_view version);

}  // namespace isoflop::hardware
