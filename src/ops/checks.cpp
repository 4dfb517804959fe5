#include "ops/checks.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "isoflop/device/host_access.hpp"

namespace isoflop::ops {

using device::TensorView;

namespace {

std::vector<std::int64_t> shape_of(const TensorView& tensor) {
    std::vector<std::int64_t> shape;
    for (std::size_t i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
    return shape;
}

std::string describe(DType dtype, const std::vector<std::int64_t>& shape) {
    std::string extents;
    for (const std::int64_t extent : shape) {
        extents += (extents.empty() ? "" : ", ") + std::to_string(extent);
    }
    return fmt::format("{} [{}]", short_name(dtype), extents);
}

std::string names_of(const std::vector<DType>& types) {
    std::string names;
    for (const DType type : types) {
        names += names.empty() ? "" : type == types.back() ? " and " : ", ";
        names += short_name(type);
    }
    return names;
}

std::string describe(const TensorView& tensor) {
    return tensor.empty() ? "empty" : describe(tensor.dtype(), shape_of(tensor));
}

}  // namespace

Checks::Checks(const device::Context& context, std::string_view op, std::string_view name,
               const TensorView& first, std::size_t rank)
    : op_(op), dtype_(first.dtype()), device_(context.device) {
    const std::vector<DType>& types = context.device.info().element_types;
    require(std::find(types.begin(), types.end(), dtype_) != types.end(),
            "{} is {}, this device has {} only", name, short_name(dtype_), names_of(types));
    require(first.rank() == rank, "{} is {}, expected {} dimension(s)", name, describe(first),
            rank);
    require(!first.empty() || first.size() == 0, "{} is {}", name, describe(first));
    for (const std::int64_t extent : shape_of(first)) {
        require(extent >= 0, "{} is {}, no dimension may be negative", name, describe(first));
    }
}

void Checks::shape_of_type(std::string_view name, const TensorView& tensor, DType dtype,
                           std::initializer_list<std::int64_t> expected) const {
    const std::vector<std::int64_t> shape(expected);
    const bool fits = tensor.dtype() == dtype && shape_of(tensor) == shape &&
                      (!tensor.empty() || tensor.size() == 0);
    require(fits, "{} is {}, expected {}", name, describe(tensor), describe(dtype, shape));
}

void Checks::shape(std::string_view name, const TensorView& tensor,
                   std::initializer_list<std::int64_t> expected) const {
    shape_of_type(name, tensor, dtype_, expected);
}

void Checks::statistics(std::string_view name, const TensorView& tensor,
                        std::initializer_list<std::int64_t> expected) const {
    shape_of_type(name, tensor, size_in_bytes(dtype_) == 2 ? DType::float32 : dtype_, expected);
}

void Checks::same_shape(std::string_view name, const TensorView& tensor,
                        const TensorView& expected) const {
    same_shape(name, tensor, expected, dtype_);
}

void Checks::same_shape(std::string_view name, const TensorView& tensor, const TensorView& expected,
                        DType dtype) const {
    const bool fits = tensor.dtype() == dtype && shape_of(tensor) == shape_of(expected) &&
                      (!tensor.empty() || tensor.size() == 0);
    require(fits, "{} is {}, expected {}", name, describe(tensor),
            describe(dtype, shape_of(expected)));
}

void Checks::together(std::string_view name, const TensorView& tensor, std::string_view other_name,
                      const TensorView& other) const {
    require(tensor.empty() == other.empty(), "{} is {} but {} is {}", name, describe(tensor),
            other_name, describe(other));
}

void Checks::distinct(std::string_view name, const TensorView& tensor, std::string_view other_name,
                      const TensorView& other) const {
    require(tensor.empty() || tensor.data() != other.data(), "{} must not share memory with {}",
            name, other_name);
}

void Checks::indices(std::string_view name, std::span<const std::int32_t> values, std::int64_t rows,
                     std::int64_t limit, const std::int32_t* also_allowed) const {
    require(std::ssize(values) == rows, "{} has {} values for {} rows", name, values.size(), rows);
    const std::span<const std::int32_t> visible = device::visible_to_host(device_, values);
    const auto wrong = std::find_if(visible.begin(), visible.end(), [&](std::int32_t value) {
        const bool allowed = also_allowed != nullptr && value == *also_allowed;
        return (value < 0 || value >= limit) && !allowed;
    });
    if (wrong == visible.end()) return;
    throw std::out_of_range(fmt::format("{}: {}[{}] is {}, expected 0 to {}", op_, name,
                                        wrong - visible.begin(), *wrong, limit - 1));
}

Checks check_any_rank(const device::Context& context, std::string_view op, std::string_view name,
                      const TensorView& first) {
    return {context, op, name, first, first.rank()};
}

}  // namespace isoflop::ops
