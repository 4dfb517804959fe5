// A view of contiguous, row-major tensor memory: pointer, element type, shape. Owns nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>

#include "isoflop/base/dtype.hpp"

namespace isoflop::device {

template <class T>
[[nodiscard]] constexpr DType dtype_of() {
    if constexpr (std::is_same_v<std::remove_const_t<T>, float>)
        return DType::float32;
    else if constexpr (std::is_same_v<std::remove_const_t<T>, double>)
        return DType::float64;
    else
        static_assert(sizeof(T) == 0, "no such tensor element type");
}

class TensorView {
public:
    static constexpr std::size_t kMaxRank = 4;

    TensorView() = default;
    TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape)
        : data_(data), dtype_(dtype), rank_(shape.size()) {
        std::size_t i = 0;
        for (const std::int64_t extent : shape) shape_.at(i++) = extent;
    }
    template <class T>
    static TensorView of(std::span<T> values, std::initializer_list<std::int64_t> shape) {
        return {values.data(), dtype_of<T>(), shape};
    }

    [[nodiscard]] bool empty() const { return data_ == nullptr; }
    [[nodiscard]] void* data() const { return data_; }
    [[nodiscard]] DType dtype() const { return dtype_; }
    [[nodiscard]] std::size_t rank() const { return rank_; }
    [[nodiscard]] std::int64_t dim(std::size_t i) const { return shape_.at(i); }
    [[nodiscard]] std::int64_t size() const {
        std::int64_t elements = 1;
        for (std::size_t i = 0; i < rank_; ++i) elements *= shape_[i];
        return elements;
    }
    [[nodiscard]] std::uint64_t bytes() const {
        return static_cast<std::uint64_t>(size()) * size_in_bytes(dtype_);
    }
    /// Elements [first, first + count) in memory order, as a vector.
    [[nodiscard]] TensorView flat_range(std::int64_t first, std::int64_t count) const {
        return {address(first), dtype_, {count}};
    }
    /// Rows [first, first + count) of a matrix.
    [[nodiscard]] TensorView row_range(std::int64_t first, std::int64_t count) const {
        return {address(first * dim(1)), dtype_, {count, dim(1)}};
    }
    /// Elements as T; throws std::logic_error when the tensor has another type.
    template <class T>
    [[nodiscard]] std::span<T> as() const {
        if (dtype_of<T>() != dtype_) throw std::logic_error("tensor view: wrong element type");
        return {static_cast<T*>(data_), static_cast<std::size_t>(size())};
    }

private:
    [[nodiscard]] void* address(std::int64_t element) const {
        return static_cast<std::byte*>(data_) +
               static_cast<std::size_t>(element) * size_in_bytes(dtype_);
    }

    void* data_ = nullptr;
    DType dtype_ = DType::float32;
    std::size_t rank_ = 0;
    std::array<std::int64_t, kMaxRank> shape_{};
};

/// Calls visit with a value of the element type: the one dispatch on dtype of CPU code.
///   visit_dtype(x.dtype(), [&](auto zero) { using T = decltype(zero); kernel<T>(x.as<T>()); });
template <class Visitor>
decltype(auto) visit_dtype(DType dtype, Visitor&& visit) {
    switch (dtype) {
        case DType::float32: return visit(float{});
        case DType::float64: return visit(double{});
        default: throw std::logic_error("no CPU kernel for this element type");
    }
}

}  // namespace isoflop::device
