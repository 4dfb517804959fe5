// A graph of cuDNN operations while it is built: tensors and operations are added in order, then
// the whole is finalized. All tensors have four dimensions, [batch, heads, rows, columns].
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "attention/cudnn/descriptor.hpp"

namespace isoflop::attention::cudnn {

using Extents = std::array<std::int64_t, 4>;

/// Strides of a tensor whose elements lie directly behind each other.
[[nodiscard]] constexpr Extents packed_strides(const Extents& dims) {
    return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
}
/// Extents or strides of the transposed matrices: the last two are swapped.
[[nodiscard]] constexpr Extents swapped(const Extents& extents) {
    return {extents[0], extents[1], extents[3], extents[2]};
}

/// A tensor of a graph.
struct TensorId {
    std::int64_t uid = 0;
};

class Graph {
public:
    /// `functions` must outlive it.
    explicit Graph(const Functions& functions) : functions_(&functions) {}

    /// In memory, whose address is given when the graph is run.
    TensorId real(std::int64_t uid, DataType type, const Extents& dims, const Extents& strides);
    /// A number of type float32, given from host memory when the graph is run.
    TensorId scalar(std::int64_t uid);
    /// Between operations only, without memory. Strides are packed unless given.
    TensorId intermediate(DataType type, const Extents& dims,
                          const std::optional<Extents>& strides = std::nullopt);

    /// c = a b
    void matmul(TensorId a, TensorId b, TensorId c);
    /// y = mode(x), computed in float32.
    void pointwise(PointwiseMode mode, TensorId x, TensorId y);
    void pointwise(PointwiseMode mode, TensorId x, TensorId b, TensorId y);
    /// y = x >= b, as booleans.
    void greater_or_equal(TensorId x, TensorId b, TensorId y);
    /// y = mask ? x : b
    void select(TensorId x, TensorId b, TensorId mask, TensorId y);
    /// y, of type int32, counts along a dimension of x.
    void index(TensorId x, std::int64_t dimension, TensorId y);
    /// Over the dimensions that y has fewer elements of.
    void reduce(ReductionOperator mode, TensorId x, TensorId y);
    /// y is x with other dimensions.
    void reshape(TensorId x, TensorId y);

    /// The whole, finalized; `handle` may be null where a graph is built for no device here.
    [[nodiscard]] Descriptor finalize(Handle handle);

    [[nodiscard]] std::size_t operations() const { return operations_.size(); }

private:
    struct Tensor {
        std::int64_t uid = 0;
        Descriptor descriptor;
    };
    struct Pointwise {
        PointwiseMode mode{};
        DataType precision = DataType::float32;
        std::optional<std::int64_t> axis = std::nullopt;
    };

    TensorId add_tensor(std::int64_t uid, DataType type, const Extents& dims,
                        const Extents& strides, bool is_virtual, bool is_by_value);
    void add_pointwise(const Pointwise& what, TensorId x, std::optional<TensorId> b,
                       std::optional<TensorId> mask, TensorId y);
    void add_operation(Descriptor operation);
    [[nodiscard]] const Descriptor& at(TensorId tensor) const;

    const Functions* functions_;
    std::vector<Tensor> tensors_;
    std::vector<Descriptor> parts_;  ///< what operations refer to besides tensors
    std::vector<Descriptor> operations_;
    static constexpr std::int64_t kFirstIntermediate = 1000;
    std::int64_t next_intermediate_ = kFirstIntermediate;
};

}  // namespace isoflop::attention::cudnn
