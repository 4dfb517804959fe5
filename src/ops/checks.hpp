// Argument checks of the ops: a wrong call throws std::invalid_argument with the op, the argument,
// its shape and the expected shape, before anything is written.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string_view>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops {

class Checks {
public:
    /// `op` must outlive this object. `first` is the tensor whose element type the other tensors
    /// must have; it must have `rank` dimensions.
    Checks(const device::Context& context, std::string_view op, std::string_view name,
           const device::TensorView& first, std::size_t rank);

    /// "norm_forward: out is float32 [3, 8], expected float32 [3, 7]"
    void shape(std::string_view name, const device::TensorView& tensor,
               std::initializer_list<std::int64_t> expected) const;
    /// As `shape`, against another tensor of any rank.
    void same_shape(std::string_view name, const device::TensorView& tensor,
                    const device::TensorView& expected) const;
    void same_shape(std::string_view name, const device::TensorView& tensor,
                    const device::TensorView& expected, DType dtype) const;
    /// As `shape`, of a tensor that has fp32 elements beside 16-bit ones, else the same type.
    void statistics(std::string_view name, const device::TensorView& tensor,
                    std::initializer_list<std::int64_t> expected) const;
    /// An optional parameter and its gradient are both there or both absent.
    void together(std::string_view name, const device::TensorView& tensor,
                  std::string_view other_name, const device::TensorView& other) const;
    void distinct(std::string_view name, const device::TensorView& tensor,
                  std::string_view other_name, const device::TensorView& other) const;

    template <class... Values>
    void require(bool condition, fmt::format_string<Values...> message, Values&&... values) const {
        if (condition) return;
        throw std::invalid_argument(
            fmt::format("{}: {}", op_, fmt::format(message, std::forward<Values>(values)...)));
    }

    /// One index per row, each in [0, limit) or equal to `also_allowed`; std::out_of_range if not.
    /// Indices in device memory are not checked here; the code that copied them has checked them.
    void indices(std::string_view name, std::span<const std::int32_t> values, std::int64_t rows,
                 std::int64_t limit, const std::int32_t* also_allowed = nullptr) const;

private:
    void shape_of_type(std::string_view name, const device::TensorView& tensor, DType dtype,
                       std::initializer_list<std::int64_t> expected) const;

    std::string_view op_;
    DType dtype_;
    const device::Device& device_;
};

/// A flat or shaped tensor of any rank for elementwise ops.
[[nodiscard]] Checks check_any_rank(const device::Context& context, std::string_view op,
                                    std::string_view name, const device::TensorView& first);

}  // namespace isoflop::ops
