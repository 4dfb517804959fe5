// Each library is told to use one thread: our tiles are the parallelism, and a result must not
// depend on how many threads a library would have taken.
#include "device/gemm_libraries.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

#include "device/shared_library.hpp"

namespace isoflop::device {
namespace {

// --- OpenBLAS, through CBLAS with 32-bit integers.
struct OpenBlas {
    using Gemm = void(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                      const float* a, int lda, const float* b, int ldb, float beta, float* c,
                      int ldc);
    Gemm* gemm = nullptr;
};
OpenBlas open_blas;

void multiply_with_openblas(const GemmShape& shape, float alpha, const float* a, const float* b,
                            float beta, float* c) {
    constexpr int kRowMajor = 101;
    const auto code = [](Transpose transpose) { return transpose == Transpose::yes ? 112 : 111; };
    const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
    open_blas.gemm(kRowMajor, code(shape.transpose_a), code(shape.transpose_b), narrow(shape.m),
                   narrow(shape.n), narrow(shape.k), alpha, a, narrow(shape.lda), b,
                   narrow(shape.ldb), beta, c, narrow(shape.ldc));
}

LoadedLibrary load_openblas() {
    const SharedLibrary library({"libopenblas.so.0", "libopenblas.so"});
    if (!library.loaded()) return {nullptr, "OpenBLAS: not found (libopenblas.so.0)"};
    open_blas.gemm = library.find<OpenBlas::Gemm>("cblas_sgemm");
    auto* set_num_threads = library.find<void(int)>("openblas_set_num_threads");
    auto* get_config = library.find<char*()>("openblas_get_config");
    if (open_blas.gemm == nullptr || set_num_threads == nullptr || get_config == nullptr) {
        return {nullptr, "OpenBLAS: found, but it lacks functions that we need"};
    }
    set_num_threads(1);
    // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64"
    const std::string_view config = get_config();
    return {&multiply_with_openblas,
            std::string(config.substr(0, config.find(' ', config.find(' ') + 1)))};
}

// --- oneDNN. Its row-major sgemm takes 'N' and 'T'; Debian builds it on OpenMP, whose number of
// threads belongs to the calling thread.
struct OneDnn {
    using Gemm = int(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n,
                     std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
                     std::int64_t ldb, float beta, float* c, std::int64_t ldc);
    struct Version {
        int major;
        int minor;
        int patch;
        const char* hash;
        unsigned cpu_runtime;
        unsigned gpu_runtime;
    };
    Gemm* gemm = nullptr;
    int (*get_num_threads)() = nullptr;
    void (*set_num_threads)(int) = nullptr;
};
OneDnn one_dnn;

void multiply_with_onednn(const GemmShape& shape, float alpha, const float* a, const float* b,
                          float beta, float* c) {
    const auto code = [](Transpose transpose) { return transpose == Transpose::yes ? 'T' : 'N'; };
    const int threads_before = one_dnn.get_num_threads == nullptr ? 1 : one_dnn.get_num_threads();
    if (threads_before != 1) one_dnn.set_num_threads(1);
    const int status =
        one_dnn.gemm(code(shape.transpose_a), code(shape.transpose_b), shape.m, shape.n, shape.k,
                     alpha, a, shape.lda, b, shape.ldb, beta, c, shape.ldc);
    if (threads_before != 1) one_dnn.set_num_threads(threads_before);
    if (status != 0)
        throw std::runtime_error(fmt::format("dnnl_sgemm failed with status {}", status));
}

LoadedLibrary load_onednn() {
    const SharedLibrary library({"libdnnl.so.3", "libdnnl.so.2", "libdnnl.so"});
    if (!library.loaded()) return {nullptr, "oneDNN: not found (libdnnl.so.3 or .2)"};
    one_dnn.gemm = library.find<OneDnn::Gemm>("dnnl_sgemm");
    auto* version = library.find<const OneDnn::Version*()>("dnnl_version");
    if (one_dnn.gemm == nullptr || version == nullptr) {
        return {nullptr, "oneDNN: found, but it lacks functions that we need"};
    }
    one_dnn.get_num_threads = library.find<int()>("omp_get_max_threads");
    one_dnn.set_num_threads = library.find<void(int)>("omp_set_num_threads");
    if (one_dnn.set_num_threads == nullptr) one_dnn.get_num_threads = nullptr;
    const OneDnn::Version& found = *version();
    return {&multiply_with_onednn,
            fmt::format("oneDNN {}.{}.{}", found.major, found.minor, found.patch)};
}

}  // namespace

const LoadedLibrary& load_gemm_library(GemmLibrary library) {
    if (library == GemmLibrary::openblas) {
        static const LoadedLibrary loaded = load_openblas();
        return loaded;
    }
    if (library == GemmLibrary::onednn) {
        static const LoadedLibrary loaded = load_onednn();
        return loaded;
    }
    throw std::logic_error("only OpenBLAS and oneDNN are loaded");
}

}  // namespace isoflop::device
