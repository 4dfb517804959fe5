// Checks the declarations of cuBLASLt against its header at compile time.
#if __has_include(<cublasLt.h>)

#include <cublasLt.h>

#include <type_traits>

#include "device/cuda/cublaslt.hpp"

namespace isoflop::device::cuda {
namespace {

/// True when a value of type Ours is passed exactly as one of type Theirs.
template <class Ours, class Theirs>
constexpr bool same_value() {
    using std::is_same_v;
    if constexpr (is_same_v<Ours, Theirs>) {
        return true;
    } else if constexpr (is_same_v<Ours, CublasLtHandle>) {
        return is_same_v<Theirs, cublasLtHandle_t>;
    } else if constexpr (is_same_v<Ours, CublasLtDescriptor>) {
        return is_same_v<Theirs, cublasLtMatmulDesc_t> ||
               is_same_v<Theirs, cublasLtMatrixLayout_t> ||
               is_same_v<Theirs, cublasLtMatmulPreference_t>;
    } else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
        return std::is_const_v<std::remove_pointer_t<Ours>> ==
                   std::is_const_v<std::remove_pointer_t<Theirs>> &&
               same_value<std::remove_cv_t<std::remove_pointer_t<Ours>>,
                          std::remove_cv_t<std::remove_pointer_t<Theirs>>>();
    } else if constexpr (std::is_enum_v<Theirs>) {
        return is_same_v<Ours, int> && sizeof(Theirs) == sizeof(int);
    } else {
        return (is_same_v<Ours, CublasLtAlgorithm> && is_same_v<Theirs, cublasLtMatmulAlgo_t>) ||
               (is_same_v<Ours, CublasLtHeuristic> &&
                is_same_v<Theirs, cublasLtMatmulHeuristicResult_t>);
    }
}

template <class Ours, class Theirs>
struct Same : std::false_type {};
template <class Ours, class... OurParameters, class Theirs, class... TheirParameters>
requires(
    sizeof...(OurParameters) ==
    sizeof...(TheirParameters)) struct Same<Ours (*)(OurParameters...), Theirs(TheirParameters...)>
    : std::bool_constant<same_value<Ours, Theirs>() &&
                         (same_value<OurParameters, TheirParameters>() && ...)> {
};

using Lt = CublasLtFunctions;
static_assert(Same<decltype(Lt::get_version), decltype(cublasLtGetVersion)>());
static_assert(Same<decltype(Lt::get_status_string), decltype(cublasLtGetStatusString)>());
static_assert(Same<decltype(Lt::create), decltype(cublasLtCreate)>());
static_assert(Same<decltype(Lt::destroy), decltype(cublasLtDestroy)>());
static_assert(Same<decltype(Lt::matmul_desc_create), decltype(cublasLtMatmulDescCreate)>());
static_assert(Same<decltype(Lt::matmul_desc_destroy), decltype(cublasLtMatmulDescDestroy)>());
static_assert(
    Same<decltype(Lt::matmul_desc_set_attribute), decltype(cublasLtMatmulDescSetAttribute)>());
static_assert(Same<decltype(Lt::matrix_layout_create), decltype(cublasLtMatrixLayoutCreate)>());
static_assert(Same<decltype(Lt::matrix_layout_destroy), decltype(cublasLtMatrixLayoutDestroy)>());
static_assert(
    Same<decltype(Lt::matrix_layout_set_attribute), decltype(cublasLtMatrixLayoutSetAttribute)>());
static_assert(Same<decltype(Lt::preference_create), decltype(cublasLtMatmulPreferenceCreate)>());
static_assert(Same<decltype(Lt::preference_destroy), decltype(cublasLtMatmulPreferenceDestroy)>());
static_assert(
    Same<decltype(Lt::preference_set_attribute), decltype(cublasLtMatmulPreferenceSetAttribute)>());
static_assert(Same<decltype(Lt::algo_get_heuristic), decltype(cublasLtMatmulAlgoGetHeuristic)>());
static_assert(Same<decltype(Lt::algo_check), decltype(cublasLtMatmulAlgoCheck)>());
static_assert(Same<decltype(Lt::matmul), decltype(cublasLtMatmul)>());
static_assert(!Same<decltype(Lt::matmul), decltype(cublasLtMatmulAlgoCheck)>());  // it can fail

static_assert(sizeof(CublasLtAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(CublasLtHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(CublasLtHeuristic, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(CublasLtHeuristic, status) ==
              offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(offsetof(CublasLtHeuristic, waves) ==
              offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));

static_assert(kCublasSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(kCublasInvalidValue == CUBLAS_STATUS_INVALID_VALUE);
static_assert(kCublasArchMismatch == CUBLAS_STATUS_ARCH_MISMATCH);
static_assert(kCublasNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(kCudaR32F == CUDA_R_32F && kCudaR16F == CUDA_R_16F && kCudaR16BF == CUDA_R_16BF);
static_assert(kCompute32F == CUBLAS_COMPUTE_32F);
static_assert(kCompute32FFastTf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(kOperationNone == CUBLAS_OP_N && kOperationTranspose == CUBLAS_OP_T);
static_assert(kEpilogueDefault == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(kEpilogueBias == CUBLASLT_EPILOGUE_BIAS);
static_assert(kEpilogueGeluAux == CUBLASLT_EPILOGUE_GELU_AUX);
static_assert(kEpilogueGeluAuxBias == CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
static_assert(kEpilogueGeluGradient == CUBLASLT_EPILOGUE_DGELU);
static_assert(kProductTransposeA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(kProductTransposeB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(kProductEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(kProductBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(kProductAuxPointer == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
static_assert(kProductAuxStride == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
static_assert(kMatrixBatchCount == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(kMatrixBatchStride == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(kPreferMaxWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(kPreferReductions == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(kPreferAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(kPreferAlignmentB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(kPreferAlignmentC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(kPreferAlignmentD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(kReductionInComputeType == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);

}  // namespace
}  // namespace isoflop::device::cuda

#endif
