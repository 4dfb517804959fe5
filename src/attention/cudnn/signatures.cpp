// Holds our declarations of cuDNN against its header, while compiling.
#ifdef ISOFLOP_HAVE_CUDNN_HEADER

#include <cudnn.h>

#include <type_traits>

#include "attention/cudnn/functions.hpp"

namespace isoflop::attention::cudnn {
namespace {

/// True when a value of type Ours is passed exactly as one of type Theirs.
template <class Ours, class Theirs>
constexpr bool same_value() {
    if constexpr (std::is_same_v<Ours, Theirs>)
        return true;
    else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>)
        return same_value<std::remove_pointer_t<Ours>, std::remove_pointer_t<Theirs>>();
    else
        return std::is_enum_v<Theirs> && std::is_same_v<Ours, int> &&
               sizeof(Theirs) == sizeof(int) && alignof(Theirs) == alignof(int);
}

template <class Ours, class Theirs>
struct Same : std::false_type {};
template <class Ours, class... OurParameters, class Theirs, class... TheirParameters>
requires(sizeof...(OurParameters) ==
         sizeof...(TheirParameters)) struct Same<std::function<Ours(OurParameters...)>,
                                                 Theirs(TheirParameters...)>
    : std::bool_constant<same_value<Ours, Theirs>() &&
                         (same_value<OurParameters, TheirParameters>() && ...)> {
};

using F = Functions;
static_assert(Same<decltype(F::get_version), decltype(cudnnGetVersion)>());
static_assert(Same<decltype(F::get_cudart_version), decltype(cudnnGetCudartVersion)>());
static_assert(Same<decltype(F::get_error_string), decltype(cudnnGetErrorString)>());
static_assert(Same<decltype(F::get_last_error_string), decltype(cudnnGetLastErrorString)>());
static_assert(Same<decltype(F::create), decltype(cudnnCreate)>());
static_assert(Same<decltype(F::destroy), decltype(cudnnDestroy)>());
static_assert(Same<decltype(F::set_stream), decltype(cudnnSetStream)>());
static_assert(
    Same<decltype(F::backend_create_descriptor), decltype(cudnnBackendCreateDescriptor)>());
static_assert(
    Same<decltype(F::backend_destroy_descriptor), decltype(cudnnBackendDestroyDescriptor)>());
static_assert(Same<decltype(F::backend_set_attribute), decltype(cudnnBackendSetAttribute)>());
static_assert(Same<decltype(F::backend_get_attribute), decltype(cudnnBackendGetAttribute)>());
static_assert(Same<decltype(F::backend_finalize), decltype(cudnnBackendFinalize)>());
static_assert(Same<decltype(F::backend_execute), decltype(cudnnBackendExecute)>());
static_assert(!Same<decltype(F::backend_execute), decltype(cudnnBackendFinalize)>());  // can fail

template <class Ours, class Theirs>
constexpr bool same(Ours ours, Theirs theirs) {
    return static_cast<int>(ours) == static_cast<int>(theirs);
}

static_assert(CUDNN_STATUS_SUCCESS == kSuccess && CUDNN_HEUR_MODE_A == kHeuristicsModeA);

using D = DescriptorType;
static_assert(same(D::pointwise, CUDNN_BACKEND_POINTWISE_DESCRIPTOR) &&
              same(D::engine_config, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) &&
              same(D::engine_heuristics, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) &&
              same(D::execution_plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) &&
              same(D::operation_pointwise, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) &&
              same(D::operation_graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) &&
              same(D::variant_pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) &&
              same(D::tensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR) &&
              same(D::matmul, CUDNN_BACKEND_MATMUL_DESCRIPTOR) &&
              same(D::operation_matmul, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) &&
              same(D::reduction, CUDNN_BACKEND_REDUCTION_DESCRIPTOR) &&
              same(D::operation_reduction, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) &&
              same(D::operation_reshape, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR));

using A = Attribute;
static_assert(same(A::pointwise_mode, CUDNN_ATTR_POINTWISE_MODE) &&
              same(A::pointwise_math_prec, CUDNN_ATTR_POINTWISE_MATH_PREC) &&
              same(A::pointwise_axis, CUDNN_ATTR_POINTWISE_AXIS));
static_assert(same(A::engineheur_mode, CUDNN_ATTR_ENGINEHEUR_MODE) &&
              same(A::engineheur_operation_graph, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH) &&
              same(A::engineheur_results, CUDNN_ATTR_ENGINEHEUR_RESULTS) &&
              same(A::execution_plan_engine_config, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) &&
              same(A::execution_plan_workspace_size, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) &&
              same(A::execution_plan_json_representation,
                   CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION));
static_assert(same(A::operation_pointwise_pw_descriptor,
                   CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR) &&
              same(A::operation_pointwise_xdesc, CUDNN_ATTR_OPERATION_POINTWISE_XDESC) &&
              same(A::operation_pointwise_bdesc, CUDNN_ATTR_OPERATION_POINTWISE_BDESC) &&
              same(A::operation_pointwise_ydesc, CUDNN_ATTR_OPERATION_POINTWISE_YDESC) &&
              same(A::operation_pointwise_tdesc, CUDNN_ATTR_OPERATION_POINTWISE_TDESC) &&
              same(A::operationgraph_ops, CUDNN_ATTR_OPERATIONGRAPH_OPS));
static_assert(same(A::tensor_byte_alignment, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT) &&
              same(A::tensor_data_type, CUDNN_ATTR_TENSOR_DATA_TYPE) &&
              same(A::tensor_dimensions, CUDNN_ATTR_TENSOR_DIMENSIONS) &&
              same(A::tensor_strides, CUDNN_ATTR_TENSOR_STRIDES) &&
              same(A::tensor_unique_id, CUDNN_ATTR_TENSOR_UNIQUE_ID) &&
              same(A::tensor_is_virtual, CUDNN_ATTR_TENSOR_IS_VIRTUAL) &&
              same(A::tensor_is_by_value, CUDNN_ATTR_TENSOR_IS_BY_VALUE));
static_assert(same(A::variant_pack_unique_ids, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) &&
              same(A::variant_pack_data_pointers, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) &&
              same(A::variant_pack_workspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
static_assert(same(A::matmul_comp_type, CUDNN_ATTR_MATMUL_COMP_TYPE) &&
              same(A::operation_matmul_adesc, CUDNN_ATTR_OPERATION_MATMUL_ADESC) &&
              same(A::operation_matmul_bdesc, CUDNN_ATTR_OPERATION_MATMUL_BDESC) &&
              same(A::operation_matmul_cdesc, CUDNN_ATTR_OPERATION_MATMUL_CDESC) &&
              same(A::operation_matmul_desc, CUDNN_ATTR_OPERATION_MATMUL_DESC) &&
              same(A::reduction_operator, CUDNN_ATTR_REDUCTION_OPERATOR) &&
              same(A::reduction_comp_type, CUDNN_ATTR_REDUCTION_COMP_TYPE) &&
              same(A::operation_reduction_xdesc, CUDNN_ATTR_OPERATION_REDUCTION_XDESC) &&
              same(A::operation_reduction_ydesc, CUDNN_ATTR_OPERATION_REDUCTION_YDESC) &&
              same(A::operation_reduction_desc, CUDNN_ATTR_OPERATION_REDUCTION_DESC) &&
              same(A::operation_reshape_xdesc, CUDNN_ATTR_OPERATION_RESHAPE_XDESC) &&
              same(A::operation_reshape_ydesc, CUDNN_ATTR_OPERATION_RESHAPE_YDESC));

#if CUDNN_VERSION >= 91900  // the attributes of a device that is not there came late
static_assert(same(D::device_properties, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) &&
              same(A::engineheur_deviceprop, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP) &&
              same(A::execution_plan_deviceprop, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP) &&
              same(A::deviceprop_json_representation, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION));
#endif

using V = ValueType;
static_assert(same(V::handle, CUDNN_TYPE_HANDLE) && same(V::data_type, CUDNN_TYPE_DATA_TYPE) &&
              same(V::boolean, CUDNN_TYPE_BOOLEAN) && same(V::int64, CUDNN_TYPE_INT64) &&
              same(V::void_ptr, CUDNN_TYPE_VOID_PTR) && same(V::heur_mode, CUDNN_TYPE_HEUR_MODE) &&
              same(V::pointwise_mode, CUDNN_TYPE_POINTWISE_MODE) &&
              same(V::descriptor, CUDNN_TYPE_BACKEND_DESCRIPTOR) &&
              same(V::reduction_operator, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE) &&
              same(V::character, CUDNN_TYPE_CHAR));

static_assert(same(DataType::float32, CUDNN_DATA_FLOAT) &&
              same(DataType::float16, CUDNN_DATA_HALF) && same(DataType::int32, CUDNN_DATA_INT32) &&
              same(DataType::bfloat16, CUDNN_DATA_BFLOAT16) &&
              same(DataType::boolean, CUDNN_DATA_BOOLEAN));

using P = PointwiseMode;
static_assert(same(P::add, CUDNN_POINTWISE_ADD) && same(P::mul, CUDNN_POINTWISE_MUL) &&
              same(P::div, CUDNN_POINTWISE_DIV) && same(P::sub, CUDNN_POINTWISE_SUB) &&
              same(P::exp, CUDNN_POINTWISE_EXP) && same(P::log, CUDNN_POINTWISE_LOG) &&
              same(P::identity, CUDNN_POINTWISE_IDENTITY) &&
              same(P::cmp_ge, CUDNN_POINTWISE_CMP_GE) &&
              same(P::gen_index, CUDNN_POINTWISE_GEN_INDEX) &&
              same(P::binary_select, CUDNN_POINTWISE_BINARY_SELECT));
static_assert(same(ReductionOperator::add, CUDNN_REDUCE_TENSOR_ADD) &&
              same(ReductionOperator::max, CUDNN_REDUCE_TENSOR_MAX));

}  // namespace
}  // namespace isoflop::attention::cudnn

#endif
