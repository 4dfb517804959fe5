#include "device/cuda/cublaslt.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/device/cuda_library.hpp"
#include "isoflop/device/shared_library.hpp"

namespace isoflop::device::cuda {
namespace {

constexpr int kMajor = CUDART_VERSION / 1000;

/// That of the toolkit's major version.
const SharedLibrary& library() {
    static const SharedLibrary kLibrary({cuda_library_name("libcublasLt", kMajor).c_str()});
    return kLibrary;
}

template <class Function>
void load(Function*& function, const char* symbol) {
    function = library().find<Function>(symbol);
    if (function != nullptr) return;
    throw ConfigError(
        fmt::format("device=cuda: cuBLASLt lacks {}; install that of CUDA 12.4 or newer", symbol));
}

CublasLtFunctions load_all() {
    if (!library().loaded()) {
        throw ConfigError(fmt::format(
            "device=cuda: {} (NVIDIA's package repository: libcublas-{}-{}; PyPI: {}, with its "
            "lib folder in LD_LIBRARY_PATH)",
            missing_cuda_library("libcublasLt", kMajor), kMajor, CUDART_VERSION / 10 % 100,
            kMajor < 13 ? "nvidia-cublas-cu12" : "nvidia-cublas"));
    }
    CublasLtFunctions table;
    load(table.get_version, "cublasLtGetVersion");
    load(table.get_status_string, "cublasLtGetStatusString");
    load(table.create, "cublasLtCreate");
    load(table.destroy, "cublasLtDestroy");
    load(table.matmul_desc_create, "cublasLtMatmulDescCreate");
    load(table.matmul_desc_destroy, "cublasLtMatmulDescDestroy");
    load(table.matmul_desc_set_attribute, "cublasLtMatmulDescSetAttribute");
    load(table.matrix_layout_create, "cublasLtMatrixLayoutCreate");
    load(table.matrix_layout_destroy, "cublasLtMatrixLayoutDestroy");
    load(table.matrix_layout_set_attribute, "cublasLtMatrixLayoutSetAttribute");
    load(table.preference_create, "cublasLtMatmulPreferenceCreate");
    load(table.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    load(table.preference_set_attribute, "cublasLtMatmulPreferenceSetAttribute");
    load(table.algo_get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
    load(table.algo_check, "cublasLtMatmulAlgoCheck");
    load(table.matmul, "cublasLtMatmul");
    return table;
}

}  // namespace

void CublasLtFunctions::check(int status, const char* call) const {
    if (status == kCublasSuccess) return;
    throw Error(ExitCode::check_failed, fmt::format("{}: {}", call, get_status_string(status)));
}

const CublasLtFunctions& cublaslt() {
    static const CublasLtFunctions kTable = load_all();
    return kTable;
}

std::string cublaslt_version() {
    using GetVersion = std::size_t();
    auto* const get_version = library().find<GetVersion>("cublasLtGetVersion");
    if (get_version == nullptr) return {};
    const std::size_t version = get_version();
    return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace isoflop::device::cuda
