// Libraries of NVIDIA whose names carry the major version of CUDA. A program uses those of the CUDA
// that it was built with, and no others: handles and streams of two runtimes do not mix, and a
// driver for the older does not start the newer.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace isoflop::device {

/// "libcudart.so.13"
[[nodiscard]] std::string cuda_library_name(std::string_view stem, int major);

/// Whether a library of this name can be loaded.
using LibraryProbe = std::function<bool(const std::string& name)>;
[[nodiscard]] bool can_load(const std::string& name);

/// Why there is no library of this major version: "libcudart.so.12 was not found", and which other
/// version is there.
[[nodiscard]] std::string missing_cuda_library(std::string_view stem, int major,
                                               const LibraryProbe& is_there = can_load);

}  // namespace isoflop::device
