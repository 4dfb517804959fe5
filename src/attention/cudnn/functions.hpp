// cuDNN's backend interface as a table of functions, so that a program starts where it is not
// installed and a test puts others in their place.
//
// Declared here rather than taken from its header, which need not be installed: descriptors are
// untyped pointers, enumerations have the same values. signatures.cpp holds both against the header
// where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct cudnnContext;
struct CUstream_st;

namespace isoflop::attention::cudnn {

using Handle = cudnnContext*;
using RawDescriptor = void*;

inline constexpr int kSuccess = 0;
inline constexpr std::size_t kOldestVersion =
    91000;  ///< 9.10: masks with -inf are exact from it on

/// CUDNN_BACKEND_..._DESCRIPTOR
enum class DescriptorType : int {
    pointwise = 0,
    engine_config = 3,
    engine_heuristics = 4,
    execution_plan = 5,
    operation_pointwise = 13,
    operation_graph = 15,
    variant_pack = 16,
    tensor = 17,
    matmul = 18,
    operation_matmul = 19,
    reduction = 21,
    operation_reduction = 22,
    operation_reshape = 31,
    device_properties = 38
};

/// CUDNN_ATTR_...
enum class Attribute : int {
    pointwise_mode = 0,
    pointwise_math_prec = 1,
    pointwise_axis = 9,
    engineheur_mode = 200,
    engineheur_operation_graph = 201,
    engineheur_results = 202,
    engineheur_deviceprop = 204,
    execution_plan_handle = 400,
    execution_plan_engine_config = 401,
    execution_plan_workspace_size = 402,
    execution_plan_json_representation = 405,
    execution_plan_deviceprop = 407,
    operation_pointwise_pw_descriptor = 750,
    operation_pointwise_xdesc = 751,
    operation_pointwise_bdesc = 752,
    operation_pointwise_ydesc = 753,
    operation_pointwise_tdesc = 758,
    operationgraph_handle = 800,
    operationgraph_ops = 801,
    tensor_byte_alignment = 900,
    tensor_data_type = 901,
    tensor_dimensions = 902,
    tensor_strides = 903,
    tensor_unique_id = 906,
    tensor_is_virtual = 907,
    tensor_is_by_value = 908,
    variant_pack_unique_ids = 1000,
    variant_pack_data_pointers = 1001,
    variant_pack_workspace = 1003,
    matmul_comp_type = 1500,
    operation_matmul_adesc = 1520,
    operation_matmul_bdesc = 1521,
    operation_matmul_cdesc = 1522,
    operation_matmul_desc = 1523,
    reduction_operator = 1600,
    reduction_comp_type = 1601,
    operation_reduction_xdesc = 1610,
    operation_reduction_ydesc = 1611,
    operation_reduction_desc = 1612,
    operation_reshape_xdesc = 2200,
    operation_reshape_ydesc = 2201,
    deviceprop_json_representation = 2702
};

/// CUDNN_TYPE_...: of the elements of an attribute.
enum class ValueType : int {
    handle = 0,
    data_type = 1,
    boolean = 2,
    int64 = 3,
    void_ptr = 6,
    heur_mode = 8,
    pointwise_mode = 14,
    descriptor = 15,
    reduction_operator = 18,
    character = 24
};

/// CUDNN_DATA_...
enum class DataType : int { float32 = 0, float16 = 2, int32 = 4, bfloat16 = 9, boolean = 11 };

/// CUDNN_POINTWISE_...
enum class PointwiseMode : int {
    add = 0,
    mul = 1,
    div = 6,
    sub = 9,
    exp = 13,
    log = 15,
    identity = 21,
    cmp_ge = 303,
    gen_index = 501,
    binary_select = 601
};

/// CUDNN_REDUCE_TENSOR_...
enum class ReductionOperator : int { add = 0, max = 3 };

inline constexpr int kHeuristicsModeA = 3;

/// Names as in cudnn.h, without their prefix.
struct Functions {
    std::function<std::size_t()> get_version;
    std::function<std::size_t()> get_cudart_version;  ///< of the CUDA that it was built for
    std::function<const char*(int status)> get_error_string;
    std::function<void(char* message, std::size_t size)> get_last_error_string;
    std::function<int(Handle* handle)> create;
    std::function<int(Handle handle)> destroy;
    std::function<int(Handle handle, CUstream_st* stream)> set_stream;
    std::function<int(int type, RawDescriptor* descriptor)> backend_create_descriptor;
    std::function<int(RawDescriptor descriptor)> backend_destroy_descriptor;
    std::function<int(RawDescriptor descriptor, int attribute, int type, std::int64_t count,
                      const void* elements)>
        backend_set_attribute;
    std::function<int(RawDescriptor descriptor, int attribute, int type, std::int64_t requested,
                      std::int64_t* count, void* elements)>
        backend_get_attribute;
    std::function<int(RawDescriptor descriptor)> backend_finalize;
    std::function<int(Handle handle, RawDescriptor plan, RawDescriptor variant_pack)>
        backend_execute;

    /// Throws Error with the call and the library's own words.
    void check(int status, const std::string& call) const;
};

/// Throws ConfigError that says what to install.
[[nodiscard]] Functions load_functions(const char* library_name = "libcudnn.so.9");
/// Its name has no major version of CUDA. Throws ConfigError where it was built for another one
/// than this program: it would bring libraries of that version along.
void check_cuda_major(const Functions& functions, int cuda_major);

/// 91900 -> "9.19.0"
[[nodiscard]] std::string version_text(std::size_t version);

}  // namespace isoflop::attention::cudnn
