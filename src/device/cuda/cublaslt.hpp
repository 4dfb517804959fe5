// cuBLASLt as a table of functions, so that a program starts where it is not installed.
//
// Declared here rather than taken from its header, which need not be installed: handles are
// pointers to incomplete types, enumerations are passed as int. cublaslt_signatures.cpp checks both
// against the header where it is installed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

struct CUstream_st;

namespace isoflop::device::cuda {

struct CublasLtOpaque;
using CublasLtHandle = CublasLtOpaque*;
using CublasLtDescriptor = void*;  ///< of a product, a matrix or a preference

struct CublasLtAlgorithm {
    std::array<std::uint64_t, 8> data{};
};

struct CublasLtHeuristic {
    CublasLtAlgorithm algorithm;
    std::size_t workspace_bytes = 0;
    int status = 0;
    float waves = 0;
    std::array<int, 4> reserved{};
};

inline constexpr int kCublasSuccess = 0;
inline constexpr int kCublasInvalidValue = 7;
inline constexpr int kCublasArchMismatch = 8;
inline constexpr int kCublasNotSupported = 15;
inline constexpr int kCudaR32F = 0;
inline constexpr int kCudaR16F = 2;
inline constexpr int kCudaR16BF = 14;
inline constexpr int kCompute32F = 68;
inline constexpr int kCompute32FFastTf32 = 77;
inline constexpr int kOperationNone = 0;
inline constexpr int kOperationTranspose = 1;
inline constexpr int kEpilogueDefault = 1;
inline constexpr int kEpilogueBias = 4;
inline constexpr int kEpilogueGeluAux = 160;
inline constexpr int kEpilogueGeluAuxBias = 164;
inline constexpr int kEpilogueGeluGradient = 192;
inline constexpr int kProductTransposeA = 3;
inline constexpr int kProductTransposeB = 4;
inline constexpr int kProductEpilogue = 7;
inline constexpr int kProductBiasPointer = 8;
inline constexpr int kProductAuxPointer = 11;
inline constexpr int kProductAuxStride = 12;
inline constexpr int kMatrixBatchCount = 5;
inline constexpr int kMatrixBatchStride = 6;
inline constexpr int kPreferMaxWorkspace = 1;
inline constexpr int kPreferReductions = 3;
inline constexpr int kPreferAlignmentA = 5;
inline constexpr int kPreferAlignmentB = 6;
inline constexpr int kPreferAlignmentC = 7;
inline constexpr int kPreferAlignmentD = 8;
inline constexpr std::uint32_t kReductionInComputeType = 2;

/// Names as in cublasLt.h, without their prefix.
struct CublasLtFunctions {
    std::size_t (*get_version)() = nullptr;
    const char* (*get_status_string)(int status) = nullptr;
    int (*create)(CublasLtHandle* handle) = nullptr;
    int (*destroy)(CublasLtHandle handle) = nullptr;
    int (*matmul_desc_create)(CublasLtDescriptor* product, int compute_type,
                              int scale_type) = nullptr;
    int (*matmul_desc_destroy)(CublasLtDescriptor product) = nullptr;
    int (*matmul_desc_set_attribute)(CublasLtDescriptor product, int attribute, const void* value,
                                     std::size_t bytes) = nullptr;
    int (*matrix_layout_create)(CublasLtDescriptor* matrix, int dtype, std::uint64_t rows,
                                std::uint64_t columns, std::int64_t stride) = nullptr;
    int (*matrix_layout_destroy)(CublasLtDescriptor matrix) = nullptr;
    int (*matrix_layout_set_attribute)(CublasLtDescriptor matrix, int attribute, const void* value,
                                       std::size_t bytes) = nullptr;
    int (*preference_create)(CublasLtDescriptor* preference) = nullptr;
    int (*preference_destroy)(CublasLtDescriptor preference) = nullptr;
    int (*preference_set_attribute)(CublasLtDescriptor preference, int attribute, const void* value,
                                    std::size_t bytes) = nullptr;
    int (*algo_get_heuristic)(CublasLtHandle handle, CublasLtDescriptor product,
                              CublasLtDescriptor a, CublasLtDescriptor b, CublasLtDescriptor c,
                              CublasLtDescriptor d, CublasLtDescriptor preference, int requested,
                              CublasLtHeuristic* results, int* found) = nullptr;
    int (*algo_check)(CublasLtHandle handle, CublasLtDescriptor product, CublasLtDescriptor a,
                      CublasLtDescriptor b, CublasLtDescriptor c, CublasLtDescriptor d,
                      const CublasLtAlgorithm* algorithm, CublasLtHeuristic* result) = nullptr;
    int (*matmul)(CublasLtHandle handle, CublasLtDescriptor product, const void* alpha,
                  const void* a, CublasLtDescriptor matrix_a, const void* b,
                  CublasLtDescriptor matrix_b, const void* beta, const void* c,
                  CublasLtDescriptor matrix_c, void* d, CublasLtDescriptor matrix_d,
                  const CublasLtAlgorithm* algorithm, void* workspace, std::size_t workspace_bytes,
                  CUstream_st* stream) = nullptr;

    /// Throws Error with the call and the message of cuBLAS.
    void check(int status, const char* call) const;
};

/// Throws ConfigError where it is not installed.
[[nodiscard]] const CublasLtFunctions& cublaslt();

/// "cuBLASLt 13.1.0"; empty where it is not installed.
[[nodiscard]] std::string cublaslt_version();

}  // namespace isoflop::device::cuda
