#include "isoflop/hardware/gpu_libraries.hpp"

#include <gtest/gtest.h>

#include <map>

namespace isoflop::hardware {
namespace {

std::size_t some_version() {
    return 130100;
}
std::size_t cudnn_version() {
    return 91900;
}
int nccl_version(int* version) {
    return *version = 22809, 0;
}
int driver_version(int* version) {
    return *version = 12080, 0;
}

template <class Function>
void* address(Function* function) {
    return reinterpret_cast<void*>(function);
}

/// A machine with these libraries.
SymbolFinder machine_with(std::map<std::string, void*> installed) {
    return [installed = std::move(installed)](const char* library, const char* /*symbol*/) {
        const auto found = installed.find(library);
        return found == installed.end() ? nullptr : found->second;
    };
}

TEST(GpuLibraries, AreNamedWithTheirVersions) {
    const SymbolFinder machine = machine_with({{"libcuda.so.1", address(&driver_version)},
                                               {"libcublasLt.so.13", address(&some_version)},
                                               {"libcudnn.so.9", address(&cudnn_version)},
                                               {"libnccl.so.2", address(&nccl_version)},
                                               {"libnvidia-ml.so.1", address(&some_version)}});
    EXPECT_EQ(gpu_libraries_text("13.0.88", machine),
              "CUDA 13.0.88 built in; driver for CUDA 12.8, cuBLASLt 13.1.0, cuDNN 9.19.0, NCCL "
              "2.28.9, NVML found");
}

TEST(GpuLibraries, AreToldToBeMissing) {
    EXPECT_EQ(gpu_libraries_text("", machine_with({})),
              "CUDA not built in; driver not found, cuBLASLt not found, cuDNN not found, NCCL not "
              "found, NVML not found");
}

TEST(GpuLibraries, AreThoseOfTheBuildsCuda) {
    const SymbolFinder machine = machine_with({{"libcublasLt.so.13", address(&some_version)}});
    EXPECT_EQ(gpu_libraries(13, machine)[1].version, "13.1.0");
    EXPECT_EQ(gpu_libraries(12, machine)[1].version, "");
    EXPECT_EQ(gpu_libraries(12, machine)[1].file, "libcublasLt.so.12");
    EXPECT_EQ(gpu_libraries(0, machine)[1].version, "13.1.0") << "a build without CUDA";
    EXPECT_EQ(major_of("12.4.131"), 12);
    EXPECT_EQ(major_of(""), 0);
}

TEST(GpuLibraries, AreLookedForOnThisMachineWithoutAFault) {
    for (const GpuLibrary& library : gpu_libraries(0)) {
        EXPECT_FALSE(library.file.empty());
        EXPECT_FALSE(library.purpose.empty());
    }
    EXPECT_EQ(find_symbol("libisoflop_none.so.1", nullptr), nullptr);
    EXPECT_NE(find_symbol("libc.so.6", "malloc"), nullptr);
}

}  // namespace
}  // namespace isoflop::hardware
