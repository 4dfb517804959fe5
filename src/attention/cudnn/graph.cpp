#include "attention/cudnn/graph.hpp"

#include <algorithm>
#include <stdexcept>

namespace isoflop::attention::cudnn {

TensorId Graph::real(std::int64_t uid, DataType type, const Extents& dims, const Extents& strides) {
    return add_tensor(uid, type, dims, strides, false, false);
}

TensorId Graph::scalar(std::int64_t uid) {
    return add_tensor(uid, DataType::float32, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
}

TensorId Graph::intermediate(DataType type, const Extents& dims,
                             const std::optional<Extents>& strides) {
    return add_tensor(next_intermediate_++, type, dims, strides.value_or(packed_strides(dims)),
                      true, false);
}

TensorId Graph::add_tensor(std::int64_t uid, DataType type, const Extents& dims,
                           const Extents& strides, bool is_virtual, bool is_by_value) {
    constexpr std::int64_t alignment = 16;
    Descriptor tensor(*functions_, DescriptorType::tensor);
    tensor.set(Attribute::tensor_data_type, ValueType::data_type, type);
    tensor.set_all(Attribute::tensor_dimensions, ValueType::int64, dims);
    tensor.set_all(Attribute::tensor_strides, ValueType::int64, strides);
    tensor.set(Attribute::tensor_unique_id, ValueType::int64, uid);
    tensor.set(Attribute::tensor_byte_alignment, ValueType::int64, alignment);
    tensor.set(Attribute::tensor_is_virtual, ValueType::boolean, is_virtual);
    tensor.set(Attribute::tensor_is_by_value, ValueType::boolean, is_by_value);
    tensor.finalize("tensor " + std::to_string(uid));
    tensors_.push_back({uid, std::move(tensor)});
    return {uid};
}

const Descriptor& Graph::at(TensorId tensor) const {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                    [&](const Tensor& each) { return each.uid == tensor.uid; });
    if (found == tensors_.end()) throw std::logic_error("no such tensor in the graph");
    return found->descriptor;
}

void Graph::add_operation(Descriptor operation) {
    operation.finalize("operation " + std::to_string(operations_.size() + 1));
    operations_.push_back(std::move(operation));
}

void Graph::matmul(TensorId a, TensorId b, TensorId c) {
    Descriptor product(*functions_, DescriptorType::matmul);
    product.set(Attribute::matmul_comp_type, ValueType::data_type, DataType::float32);
    product.finalize("matmul");
    Descriptor operation(*functions_, DescriptorType::operation_matmul);
    operation.set(Attribute::operation_matmul_adesc, at(a));
    operation.set(Attribute::operation_matmul_bdesc, at(b));
    operation.set(Attribute::operation_matmul_cdesc, at(c));
    operation.set(Attribute::operation_matmul_desc, product);
    parts_.push_back(std::move(product));
    add_operation(std::move(operation));
}

void Graph::pointwise(PointwiseMode mode, TensorId x, TensorId y) {
    add_pointwise({.mode = mode}, x, std::nullopt, std::nullopt, y);
}
void Graph::pointwise(PointwiseMode mode, TensorId x, TensorId b, TensorId y) {
    add_pointwise({.mode = mode}, x, b, std::nullopt, y);
}
void Graph::greater_or_equal(TensorId x, TensorId b, TensorId y) {
    add_pointwise({.mode = PointwiseMode::cmp_ge, .precision = DataType::boolean}, x, b,
                  std::nullopt, y);
}
void Graph::select(TensorId x, TensorId b, TensorId mask, TensorId y) {
    add_pointwise({.mode = PointwiseMode::binary_select}, x, b, mask, y);
}
void Graph::index(TensorId x, std::int64_t dimension, TensorId y) {
    add_pointwise(
        {.mode = PointwiseMode::gen_index, .precision = DataType::int32, .axis = dimension}, x,
        std::nullopt, std::nullopt, y);
}

void Graph::add_pointwise(const Pointwise& what, TensorId x, std::optional<TensorId> b,
                          std::optional<TensorId> mask, TensorId y) {
    Descriptor function(*functions_, DescriptorType::pointwise);
    function.set(Attribute::pointwise_mode, ValueType::pointwise_mode, what.mode);
    function.set(Attribute::pointwise_math_prec, ValueType::data_type, what.precision);
    if (what.axis) function.set(Attribute::pointwise_axis, ValueType::int64, *what.axis);
    function.finalize("pointwise");
    Descriptor operation(*functions_, DescriptorType::operation_pointwise);
    operation.set(Attribute::operation_pointwise_pw_descriptor, function);
    operation.set(Attribute::operation_pointwise_xdesc, at(x));
    if (b) operation.set(Attribute::operation_pointwise_bdesc, at(*b));
    if (mask) operation.set(Attribute::operation_pointwise_tdesc, at(*mask));
    operation.set(Attribute::operation_pointwise_ydesc, at(y));
    parts_.push_back(std::move(function));
    add_operation(std::move(operation));
}

void Graph::reduce(ReductionOperator mode, TensorId x, TensorId y) {
    Descriptor reduction(*functions_, DescriptorType::reduction);
    reduction.set(Attribute::reduction_operator, ValueType::reduction_operator, mode);
    reduction.set(Attribute::reduction_comp_type, ValueType::data_type, DataType::float32);
    reduction.finalize("reduction");
    Descriptor operation(*functions_, DescriptorType::operation_reduction);
    operation.set(Attribute::operation_reduction_xdesc, at(x));
    operation.set(Attribute::operation_reduction_ydesc, at(y));
    operation.set(Attribute::operation_reduction_desc, reduction);
    parts_.push_back(std::move(reduction));
    add_operation(std::move(operation));
}

void Graph::reshape(TensorId x, TensorId y) {
    Descriptor operation(*functions_, DescriptorType::operation_reshape);
    operation.set(Attribute::operation_reshape_xdesc, at(x));
    operation.set(Attribute::operation_reshape_ydesc, at(y));
    add_operation(std::move(operation));
}

Descriptor Graph::finalize(Handle handle) {
    std::vector<RawDescriptor> raw;
    for (const Descriptor& operation : operations_) raw.push_back(operation.raw());
    Descriptor graph(*functions_, DescriptorType::operation_graph);
    if (handle != nullptr) graph.set(Attribute::operationgraph_handle, ValueType::handle, handle);
    graph.set_all(Attribute::operationgraph_ops, ValueType::descriptor, raw);
    graph.finalize("operation graph");
    return graph;
}

}  // namespace isoflop::attention::cudnn
