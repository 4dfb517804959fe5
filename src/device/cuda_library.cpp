#include "isoflop/device/cuda_library.hpp"

#include <fmt/format.h>

#include "isoflop/device/shared_library.hpp"

namespace isoflop::device {
namespace {

constexpr int kOldestMajor = 11;
constexpr int kNewestMajor = 14;

}  // namespace

std::string cuda_library_name(std::string_view stem, int major) {
    return fmt::format("{}.so.{}", stem, major);
}

bool can_load(const std::string& name) {
    return SharedLibrary({name.c_str()}).loaded();
}

std::string missing_cuda_library(std::string_view stem, int major, const LibraryProbe& is_there) {
    std::string text = cuda_library_name(stem, major) + " was not found";
    for (int other = kNewestMajor; other >= kOldestMajor; --other) {
        if (other == major || !is_there(cuda_library_name(stem, other))) continue;
        return text + fmt::format("; {} is there, but this program was built with CUDA {}",
                                  cuda_library_name(stem, other), major);
    }
    return text;
}

}  // namespace isoflop::device
