// OpenBLAS and oneDNN, loaded when asked for: neither the build nor the start of a program depends
// on them.
#pragma once

#include <string>

#include "isoflop/device/gemm.hpp"

namespace isoflop::device {

/// C = alpha * op(A) op(B) + beta * C on the calling thread alone.
using SerialGemm = void (*)(const GemmShape& shape, float alpha, const float* a, const float* b,
                            float beta, float* c);

struct LoadedLibrary {
    SerialGemm multiply = nullptr;  ///< null when the library was not found
    std::string description;        ///< name and version, or why it is not there
};

/// Loads on the first call. `library` is openblas or onednn.
[[nodiscard]] const LoadedLibrary& load_gemm_library(GemmLibrary library);

}  // namespace isoflop::device
